package rule

// need is what must stand at one place of an event: members that have to be there, each with what it needs itself.
// It is the required paths as a tree.
type need struct {
	names []string
	leafs []bool // null is not enough
	below []*need
	index map[string]int // of names, where there are many
}

// ban is what must not stand at one place, and what leads to it. It is the blocked paths as a tree.
type ban struct {
	names []string
	below []*ban
	index map[string]int // of names, where there are many
	any   *ban           // behind *
	deep  *ban           // behind **, which may stand for no member at all
	leaf  bool           // to be there is the violation
	stays bool           // it is what deep leads to: it holds for all that is below it too
}

// many is from how many names on they are looked up in a map.
const many = 8

// grow makes the trees of the compiled paths; one that has nothing to ask for is nil.
func (c *Checker) grow() {
	c.need, c.ban = nil, nil
	for i := range c.paths {
		p := &c.paths[i]
		if p.rule == Required {
			if c.need == nil {
				c.need = &need{}
			}
			c.need.add(p.names)
			continue
		}
		if c.ban == nil {
			c.ban = &ban{}
		}
		c.ban.add(p.names)
	}
}

func (n *need) add(names []string) {
	for i, name := range names {
		at := n.find(name)
		if at < 0 {
			at = len(n.names)
			n.names, n.leafs, n.below = append(n.names, name), append(n.leafs, false), append(n.below, nil)
			n.index = lookup(n.names, n.index)
		}
		if i == len(names)-1 {
			n.leafs[at] = true
			return
		}
		if n.below[at] == nil {
			n.below[at] = &need{}
		}
		n = n.below[at]
	}
}

func (n *need) find(name string) int { return findIn(n.names, n.index, []byte(name)) }

func (b *ban) add(names []string) {
	for _, name := range names {
		b = b.child(name)
	}
	b.leaf = true
}

func (b *ban) child(name string) *ban {
	switch name {
	case "*":
		if b.any == nil {
			b.any = &ban{}
		}
		return b.any
	case "**":
		if b.deep == nil {
			b.deep = &ban{stays: true}
		}
		return b.deep
	}
	if at := findIn(b.names, b.index, []byte(name)); at >= 0 {
		return b.below[at]
	}
	made := &ban{}
	b.names, b.below = append(b.names, name), append(b.below, made)
	b.index = lookup(b.names, b.index)
	return made
}

// lookup is a map of names, once there are many.
func lookup(names []string, have map[string]int) map[string]int {
	if len(names) <= many {
		return nil
	}
	if have == nil {
		have = map[string]int{}
	}
	for i := len(have); i < len(names); i++ {
		have[names[i]] = i
	}
	return have
}

func findIn(names []string, index map[string]int, name []byte) int {
	if index != nil {
		if at, ok := index[string(name)]; ok {
			return at
		}
		return -1
	}
	for i := range names {
		if names[i] == string(name) {
			return i
		}
	}
	return -1
}
