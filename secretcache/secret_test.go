package secretcache_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

func TestNewSecretKeepsTheFieldsOfTheValue(t *testing.T) {
	long := strings.Repeat("64 KiB ", 65536/7)
	for _, tt := range []struct {
		name   string
		value  secretcache.Value
		reveal string
		binary bool
	}{
		{"text", secretcache.Value{String: `{"password":"ü"}`}, `{"password":"ü"}`, false},
		{"binary", secretcache.Value{Binary: []byte{0, 0xff, 'x'}}, "\x00\xffx", true},
		{"empty binary", secretcache.Value{Binary: []byte{}}, "", true},
		{"binary wins", secretcache.Value{String: "text", Binary: []byte("bytes")}, "bytes", true},
		{"nothing", secretcache.Value{}, "", false},
		{"long", secretcache.Value{String: long}, long, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := secretcache.NewSecret(tt.value)
			if got := s.Reveal(); got != tt.reveal {
				t.Errorf("Reveal() = %q, want %q", got, tt.reveal)
			}
			if got := s.Bytes(); string(got) != tt.reveal {
				t.Errorf("Bytes() = %q, want %q", got, tt.reveal)
			}
			if got := s.IsBinary(); got != tt.binary {
				t.Errorf("IsBinary() = %v, want %v", got, tt.binary)
			}
			if got := s.Stages(); len(got) != 0 {
				t.Errorf("Stages() = %v, want none", got)
			}
		})
	}
	created := time.Unix(1, 2)
	s := secretcache.NewSecret(secretcache.Value{
		ID: "i", ARN: "a", Name: "n", VersionID: "v", Stages: []string{current, "x"}, CreatedAt: created,
	})
	got := fmt.Sprint(s.ID(), s.ARN(), s.Name(), s.VersionID(), s.Stages(), s.CreatedAt().Equal(created))
	if want := fmt.Sprint("i", "a", "n", "v", []string{current, "x"}, true); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSecretSharesNoMemory(t *testing.T) {
	binary, stages := []byte("bytes"), []string{"a", "b"}
	s := secretcache.NewSecret(secretcache.Value{Binary: binary, Stages: stages})
	hooked := s.WithBinary(binary)
	binary[0], stages[0] = 'X', "X"
	s.Bytes()[1] = 'X'
	s.Stages()[1] = "X"
	if s.Reveal() != "bytes" || hooked.Reveal() != "bytes" || fmt.Sprint(s.Stages()) != "[a b]" {
		t.Errorf("the secret changed: %q, %q, %v", s.Reveal(), hooked.Reveal(), s.Stages())
	}
	if got := s.WithString("text"); got.Reveal() != "text" || got.IsBinary() || s.Reveal() != "bytes" {
		t.Errorf("WithString: %q, of %q", got.Reveal(), s.Reveal())
	}
}

func TestZeroSecretIsEmpty(t *testing.T) {
	var s secretcache.Secret
	if s.Reveal() != "" || len(s.Bytes()) != 0 || s.IsBinary() {
		t.Errorf("a zero Secret holds %q", s.Reveal())
	}
	if got := fmt.Sprint(s, (*secretcache.Secret)(nil)); !strings.Contains(got, "<nil>") {
		t.Errorf("printed %q", got)
	}
}

// methodless are the verbs for which fmt calls no methods, unless the argument is a pointer or an
// error. A Secret does not show its value even then. A Value does, because its fields are
// strings.
var methodless = []string{"%p", "%w"}

var page = template.Must(template.New("").Parse("{{.}} {{printf `%v` .}} {{html .}} {{js .}}"))

// timeless removes the time from logs, because its digits change.
var timeless = &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}}

// printedForms returns, by name, every form in which v may get into a log or onto a wire. v is a
// secret, or something that holds one.
func printedForms(v any) map[string]string {
	forms := map[string]string{}
	for _, verb := range append(methodless,
		"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U", "%t", "%e", "%g", "%T",
		"% x", "%#x", "%+q", "%#q", "%080v", "%-5.3s", "%!", "%z", "%*d", "no verb",
	) {
		forms[verb] = fmt.Sprintf(verb, v)
	}
	forms["Sprint"], forms["Sprintln"] = fmt.Sprint(v), fmt.Sprintln(v)
	forms["Errorf"] = fmt.Errorf("wrapped: %w", fmt.Errorf("%v", v)).Error()
	forms["panic"] = func() (text string) {
		defer func() { text = fmt.Sprint(recover()) }()
		panic(v)
	}()

	record := func(name string, b []byte, err error) { forms[name] = fmt.Sprintf("%s %v", b, err) }
	b, err := json.Marshal(v)
	record("json", b, err)
	b, err = json.MarshalIndent(map[string]any{"k": []any{v}}, "", " ")
	record("json nested", b, err)
	b, err = xml.Marshal(v)
	record("xml", b, err)
	var buf bytes.Buffer
	err = gob.NewEncoder(&buf).Encode(v)
	record("gob", buf.Bytes(), err)
	buf.Reset()
	err = page.Execute(&buf, v)
	record("template", buf.Bytes(), err)
	for name, h := range map[string]slog.Handler{
		"slog text": slog.NewTextHandler(&buf, timeless), "slog json": slog.NewJSONHandler(&buf, timeless),
	} {
		buf.Reset()
		slog.New(h).With("with", v).WithGroup("g").Info("message", "k", v, slog.Any("any", []any{v}), "err", fmt.Errorf("%v", v))
		record(name, buf.Bytes(), nil)
	}
	return forms
}

// encodings returns the ways in which a printed form may show value.
func encodings(value string) []string {
	quoted, _ := json.Marshal(value)
	ints := strings.Trim(fmt.Sprint([]byte(value)), "[]")
	codes := make([]string, len(value))
	for i := range len(value) {
		codes[i] = fmt.Sprintf("0x%x", value[i])
	}
	return []string{
		value, string(quoted[1 : len(quoted)-1]), fmt.Sprintf("%q", value)[1:],
		hex.EncodeToString([]byte(value)), strings.ToUpper(hex.EncodeToString([]byte(value))), fmt.Sprintf("% x", value),
		base64.StdEncoding.EncodeToString([]byte(value)), base64.RawURLEncoding.EncodeToString([]byte(value)),
		ints, strings.ReplaceAll(ints, " ", ","), strings.Join(codes, ", "),
		new(big.Int).SetBytes([]byte(value)).String(),
	}
}

// holders returns v alone, and v inside other values that programs print.
func holders(s *secretcache.Secret, v secretcache.Value) map[string]any {
	type public struct{ S any }
	type private struct {
		s  secretcache.Secret
		p  *secretcache.Secret
		m  map[string]*secretcache.Secret
		l  []secretcache.Secret
		in struct{ s secretcache.Secret }
	}
	hidden := private{*s, s, map[string]*secretcache.Secret{"k": s}, []secretcache.Secret{*s}, struct{ s secretcache.Secret }{*s}}
	return map[string]any{
		"*Secret": s, "Secret": *s, "**Secret": &s, "[]*Secret": []*secretcache.Secret{s}, "[1]Secret": [1]secretcache.Secret{*s},
		"map": map[string]secretcache.Secret{"k": *s}, "map key": map[*secretcache.Secret]int{s: 1},
		"struct": public{*s}, "struct of pointer": public{s}, "private": hidden, "*private": &hidden, "any": []any{s, *s},
		"Value": v, "*Value": &v, "[]Value": []secretcache.Value{v}, "map of Value": map[int]secretcache.Value{1: v},
		"struct of Value": public{v}, "struct of *Value": public{&v},
		"Result": secretcache.Result{Secret: s}, "*Result": &secretcache.Result{Secret: s},
		"[]Result":       []secretcache.Result{{Secret: s}, {Err: errors.New("x")}},
		"Secret of Hook": s.WithString(s.Reveal()), "binary Secret of Hook": s.WithBinary(s.Bytes()),
		"held": s.WithHeld(struct{ v string }{s.Reveal()}),
	}
}

// checkRedacted fails the test if any printed form of a secret shows value.
func checkRedacted(t *testing.T, value string) {
	t.Helper()
	for _, v := range []secretcache.Value{
		{ID: "id-1", ARN: arn("x"), Name: "x", VersionID: "v-1", Stages: []string{current}, String: value},
		{ID: "id-1", VersionID: "v-1", Binary: []byte(value)},
	} {
		for holder, h := range holders(secretcache.NewSecret(v), v) {
			for form, text := range printedForms(h) {
				if strings.Contains(holder, "Value") && slices.Contains(methodless, form) {
					continue
				}
				for _, leak := range encodings(value) {
					if len(leak) >= 8 && strings.Contains(text, leak) {
						t.Errorf("%s of %s shows the value %q as %q: %s", form, holder, value, leak, text)
					}
				}
			}
		}
	}
}

func TestNoPrintedFormShowsTheValue(t *testing.T) {
	checkRedacted(t, `{"username":"app","password":"hunter2-hunter2"}`)
	checkRedacted(t, "hunter2-hunter2")
}

func TestPrintedFormsNameTheSecret(t *testing.T) {
	v := secretcache.Value{ID: "prod/app", ARN: arn("prod/app"), VersionID: "v-1", Stages: []string{current}, String: "hunter2"}
	for holder, h := range map[string]any{"Secret": secretcache.NewSecret(v), "Value": v} {
		forms := printedForms(h)
		for _, form := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "json", "xml", "slog text", "slog json"} {
			if text := forms[form]; !strings.Contains(text, "prod/app") || !strings.Contains(text, "v-1") {
				t.Errorf("%s of %s = %s, want the id and the version", form, holder, text)
			}
		}
	}
	got, err := json.Marshal(secretcache.NewSecret(v))
	want := `{"id":"prod/app","arn":"` + arn("prod/app") + `","versionId":"v-1","stages":["AWSCURRENT"],"value":"[redacted]"}`
	if string(got) != want || err != nil {
		t.Errorf("JSON %s, %v, want %s", got, err, want)
	}
}

func FuzzRedaction(f *testing.F) {
	for _, seed := range []string{
		`{"password":"correct horse"}`, "hunter2-hunter2", "pass\"word\\\n\t", "%s%v%!(EXTRA)", "p\x00ss\xffword", "пароль-пароль", "<&>'\"`{{.}}",
	} {
		f.Add(seed)
	}
	frame := fmt.Sprint(printedValues(secretcache.Value{}), printedValues(secretcache.Value{Binary: []byte{}}))
	f.Fuzz(func(t *testing.T, value string) {
		if len(value) < 8 {
			t.Skip("too short to tell from what surrounds it")
		}
		for _, leak := range encodings(value) {
			if strings.Contains(frame, leak) {
				t.Skip("part of every printed form")
			}
		}
		texts := append(printedValues(secretcache.Value{String: value}), printedValues(secretcache.Value{Binary: []byte(value)})...)
		for _, text := range texts {
			for _, leak := range encodings(value) {
				if len(leak) >= 8 && strings.Contains(text, leak) {
					t.Fatalf("the value %q shows as %q in %s", value, leak, text)
				}
			}
		}
	})
}

// printedValues returns the printed forms of v and of its secret.
func printedValues(v secretcache.Value) []string {
	s := secretcache.NewSecret(v)
	var texts []string
	for _, h := range []any{s, *s, v, &v, secretcache.Result{Secret: s}} {
		for form, text := range printedForms(h) {
			if _, isSecret := h.(secretcache.Secret); isSecret || !slices.Contains(methodless, form) {
				texts = append(texts, text)
			}
		}
	}
	return texts
}
