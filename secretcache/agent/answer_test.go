package agent_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sqlsecrets/sqlsecrets/secretcache/agent"
)

// The forms that the two servers write are decoded, and other forms that are as clear.
func TestDecode(t *testing.T) {
	for _, tt := range []struct {
		name    string
		body    string
		arn     string
		text    string
		binary  []byte
		stages  int
		created time.Time
	}{
		{
			name: "the agent's",
			body: `{"ARN":"arn:aws:secretsmanager:us-west-2:123456789012:secret:MyTest-NhBWsc","Name":"MyTest",` +
				`"VersionId":"5767290c","SecretString":"hunter2","VersionStages":["AWSCURRENT"],"CreatedDate":"1569534789.046"}`,
			arn: "arn:aws:secretsmanager:us-west-2:123456789012:secret:MyTest-NhBWsc", text: "hunter2", stages: 1,
			created: time.Date(2019, 9, 26, 21, 53, 9, 46_000_000, time.UTC),
		},
		{
			name: "the extension's",
			body: `{"ARN":"arn:x","CreatedDate":"2022-11-16T08:22:40.499Z","Name":"MyTest","SecretBinary":null,"SecretString":"hunter2",` +
				`"VersionId":"5767290c","VersionStages":["AWSCURRENT","x"],"ResultMetadata":{}}`,
			arn: "arn:x", text: "hunter2", stages: 2, created: created,
		},
		{name: "binary", body: `{"Name":"a","SecretBinary":"+/8A","SecretString":null}`, binary: []byte{0xfb, 0xff, 0}},
		{name: "empty binary", body: `{"Name":"a","SecretBinary":""}`, binary: []byte{}},
		{name: "empty text", body: `{"Name":"a","SecretString":""}`},
		{name: "no value", body: `{"Name":"a","SecretString":null,"SecretBinary":null}`},
		{name: "nulls", body: `{"ARN":null,"Name":null,"VersionId":null,"VersionStages":null,"CreatedDate":null,"SecretString":"x"}`, text: "x"},
		{name: "a number for a date", body: `{"Name":"a","CreatedDate":1668586960.499}`, created: created},
		{name: "with an exponent", body: `{"Name":"a","CreatedDate":1.668586960499E9}`, created: created},
		{name: "without a fraction", body: `{"Name":"a","CreatedDate":"1668586960"}`, created: time.Unix(1668586960, 0)},
		{name: "with an offset", body: `{"Name":"a","CreatedDate":"2022-11-16T09:22:40.499+01:00"}`, created: created},
		{name: "no date", body: `{"Name":"a","CreatedDate":"yesterday"}`},
		{name: "not a number", body: `{"Name":"a","CreatedDate":"NaN"}`},
		{name: "a number too large", body: `{"Name":"a","CreatedDate":"1e300"}`},
		{name: "an object for a date", body: `{"Name":"a","CreatedDate":{"seconds":1}}`},
		{name: "escapes", body: `{"Name":"a","SecretString":"\u0070\u00e4\"\\\ud83d\ude00"}`, text: "pä\"\\😀"},
		{name: "white space", body: " {\"Name\" : \"a\"}\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, ok := agent.Decode([]byte(tt.body))
			if !ok || v.ARN != tt.arn || v.String != tt.text || !bytes.Equal(v.Binary, tt.binary) || (v.Binary == nil) != (tt.binary == nil) ||
				len(v.Stages) != tt.stages || !v.CreatedAt.Equal(tt.created) {
				t.Errorf("got %v: %v, ARN %q, value %q, %q, stages %q, created %v", ok, v, v.ARN, v.String, v.Binary, v.Stages, v.CreatedAt)
			}
		})
	}
	for _, body := range []string{
		"", "healthy", "{}", "[]", "null", `"x"`, `{"Name":"a"`, `{"Name":"a"} {}`, `{"Name":1}`, `{"SecretString":{}}`, `{"Name":"a","SecretBinary":"%"}`,
		`{"__type":"InternalFailure"}`, `{"Name":null}`,
	} {
		if v, ok := agent.Decode([]byte(body)); ok {
			t.Errorf("%s is a secret: %v", body, v)
		}
	}
}

// A decoded answer has the values that were written, and decode does not panic.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"ARN":"arn:x","Name":"a","VersionId":"v","SecretString":"x","VersionStages":["AWSCURRENT"],"CreatedDate":"1569534789.046"}`), "x", "1569534789.046")
	f.Add([]byte(`{"SecretBinary":"AA==","CreatedDate":1e999}`), "", "null")
	f.Add([]byte("{"), "\x00\"", "2022-11-16T08:22:40.499Z")
	f.Fuzz(func(t *testing.T, body []byte, value, date string) {
		if v, ok := agent.Decode(body); ok && !json.Valid(body) {
			t.Errorf("%q is no JSON, and a secret: %v", body, v)
		}
		if !utf8.ValidString(value) {
			return
		}
		body, err := json.Marshal(map[string]any{"Name": "a", "SecretString": value, "CreatedDate": date})
		if err != nil {
			t.Fatal(err)
		}
		if v, ok := agent.Decode(body); !ok || v.String != value {
			t.Errorf("%q: %v, value %q", body, ok, v.String)
		}
	})
}
