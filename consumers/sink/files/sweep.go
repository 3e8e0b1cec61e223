package files

import (
	"context"
	"encoding/json"
	"errors"

	"go.uber.org/zap"
)

// sweep removes the files of commits that were begun and never made. Their writer may be alive, only slow, so a fence
// comes first: a version of the table after which no writer adds a file that it wrote before it.
func (s *Sink) sweep(ctx context.Context) error {
	names, err := s.st.list(ctx, noticeFolder, "")
	if err != nil || len(names) == 0 {
		return err
	}
	if err := s.fence(ctx); err != nil {
		return err
	}
	for _, name := range names {
		if err := s.clear(ctx, noticeFolder+"/"+name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sink) fence(ctx context.Context) error {
	c := &commit{info: commitInfo{Operation: "WEFT FENCE", Parameters: map[string]string{}, Engine: engine, Attempt: s.session + "-fence", Fence: true}}
	for {
		c.info.Timestamp = s.opts.Now().UnixMilli()
		err := s.table.append(ctx, s.version+1, c)
		if err == nil {
			s.version++
			return nil
		}
		if !errors.Is(err, errTaken) {
			return err
		}
		if n, err := s.follow(ctx, c.info.Attempt); err != nil || n.landed {
			return err
		}
	}
}

// clear removes what an announcement names and no version has, then the announcement.
func (s *Sink) clear(ctx context.Context, name string) error {
	data, err := get(ctx, s.st, name)
	if errors.Is(err, errMissing) {
		return nil // its writer has finished
	}
	if err != nil {
		return err
	}
	var n notice
	if err := json.Unmarshal(data, &n); err != nil {
		s.log.Warn("an announcement cannot be read and is left alone", zap.String("object", name), zap.Error(err))
		return nil
	}
	if n.Base >= s.version {
		return nil // begun behind the fence
	}
	kept, err := s.referenced(ctx, n.Base+1)
	if err != nil {
		return err
	}
	removed := 0
	for _, file := range n.Files {
		if kept[file] {
			continue
		}
		if err := s.st.remove(ctx, file); err != nil {
			return err
		}
		removed++
	}
	if removed > 0 {
		s.log.Info("files of a commit that was never made are removed", zap.Int("files", removed))
	}
	return s.st.remove(ctx, name)
}

// referenced are the files that the versions from v on have added.
func (s *Sink) referenced(ctx context.Context, v int64) (map[string]bool, error) {
	kept := make(map[string]bool)
	for ; v <= s.version; v++ {
		c, err := s.table.read(ctx, v)
		if err != nil {
			return nil, err
		}
		for i := range c.adds {
			name, err := c.adds[i].object()
			if err != nil {
				return nil, err
			}
			kept[name] = true
		}
	}
	return kept, nil
}
