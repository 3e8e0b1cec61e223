package keyring_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	jsonx "github.com/go-json-experiment/json"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/weft-mesh/weft/accounts/keyring"
)

const word = "hunter2hunter2"

// shapes are the ways in which a secret's bytes could stand in a text.
func shapes() []string {
	hex := fmt.Sprintf("%x", word)
	return []string{word, hex, strings.ToUpper(hex), "104 117 110", "104,117,110", "0x68", "68 75 6e", "aHVudGVy", "150 165", "1101000", "U+0068", "h u n"}
}

func refuse(t *testing.T, how, got string) {
	t.Helper()
	for _, s := range shapes() {
		if strings.Contains(got, s) {
			t.Errorf("%s shows the secret: %q", how, got)
		}
	}
}

func TestSecretHidesFromFmt(t *testing.T) {
	s := keyring.Secret(word)
	type holder struct{ S keyring.Secret }
	values := map[string]any{"value": s, "pointer": &s, "field": holder{s}, "pointer to holder": &holder{s}, "map": map[string]keyring.Secret{"a": s}, "slice": []keyring.Secret{s}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%b", "%o", "%c", "%U", "%t", "%e"} {
		for name, v := range values {
			got := fmt.Sprintf(verb, v)
			refuse(t, verb+" of "+name, got)
			if name == "value" && got != "[redacted]" {
				t.Errorf("%s: %q", verb, got)
			}
		}
	}
	refuse(t, "Sprint", fmt.Sprint(s, s.String(), s.GoString()))
	refuse(t, "an error", fmt.Errorf("bad %w: %v", fmt.Errorf("%s", s), s).Error())
}

func TestSecretHidesFromEncoders(t *testing.T) {
	s := keyring.Secret(word)
	v := map[string]any{"s": s, "p": &s, "in": struct{ S keyring.Secret }{s}}
	for name, marshal := range map[string]func(any) ([]byte, error){
		"encoding/json": json.Marshal,
		"json v2":       func(v any) ([]byte, error) { return jsonx.Marshal(v) },
	} {
		got, err := marshal(v)
		if err != nil {
			t.Fatal(name, err)
		}
		refuse(t, name, string(got))
		if strings.Count(string(got), "[redacted]") != 3 {
			t.Errorf("%s: %s", name, got)
		}
	}
	text, err := s.MarshalText()
	if err != nil || string(text) != "[redacted]" {
		t.Errorf("text: %q %v", text, err)
	}
}

func TestSecretHidesFromLogs(t *testing.T) {
	s := keyring.Secret(word)
	holder := struct{ S keyring.Secret }{s}
	for name, enc := range map[string]zapcore.Encoder{
		"json":    zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()),
		"console": zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()),
	} {
		var out bytes.Buffer
		log := zap.New(zapcore.NewCore(enc, zapcore.AddSync(&out), zap.DebugLevel))
		log.Info("m", zap.Any("any", s), zap.Any("ptr", &s), zap.Stringer("stringer", s), zap.Reflect("reflect", s), zap.Any("holder", holder),
			zap.Any("list", []keyring.Secret{s}), zap.Any("map", map[string]keyring.Secret{"k": s}), zap.Stringers("list2", []keyring.Secret{s}))
		log.Sugar().Infof("%v %s %x", s, s, s)
		log.Sugar().Infow("m", "secret", s)
		if out.Len() == 0 {
			t.Fatal("nothing was logged")
		}
		refuse(t, "zap "+name, out.String())
	}
	var out bytes.Buffer
	for _, l := range []*slog.Logger{slog.New(slog.NewJSONHandler(&out, nil)), slog.New(slog.NewTextHandler(&out, nil))} {
		l.Info("m", "secret", s, "holder", holder)
	}
	refuse(t, "slog", out.String())
}

func TestNewSecret(t *testing.T) {
	a, b := keyring.NewSecret(32), keyring.NewSecret(32)
	if len(a) != 32 || bytes.Equal(a, b) || bytes.Equal(a, make([]byte, 32)) {
		t.Error("not two different secrets of 32 bytes")
	}
	if !bytes.Equal(a.Bytes(), a) {
		t.Error("Bytes is not the secret")
	}
}
