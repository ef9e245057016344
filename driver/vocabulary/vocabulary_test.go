package vocabulary_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
)

// words have something of everything.
var words = &vocabulary.Vocabulary{
	Vendor: "vend",
	Params: map[string]vocabulary.Param{
		"sslmode": {Check: vocabulary.OneOf("disable", "require")},
		"ca":      {File: true},
		"timeout": {Check: vocabulary.Number("a number of seconds", 0, 60)},
		"label":   {},
	},
	Refused: map[string]string{"token": "the secret has it", "krb*": "no Kerberos", "krb5-*": "no Kerberos 5"},
	Meant:   map[string]string{"usessl": "sslmode"},
	Server:  &vocabulary.Settings{Harmless: []string{"password_encryption", "x_auth_*"}},
	Properties: map[string]vocabulary.Property{
		"ApplicationName": {Param: "application_name"},
		"loginTimeout":    {Param: "timeout"},
		"readOnly":        vocabulary.Choose("default_read_only", "true", "on", "false", ""),
		"keepAlive":       vocabulary.Only("set it on the dialer", "true"),
		"factory":         vocabulary.None("ca names authorities"),
		"ssl": {Bare: true, Apply: func(t *vocabulary.Translation, p vocabulary.Pair) error {
			t.Notes["sslmode"] = "require"
			return nil
		}},
	},
	Absent: "autosave cache.*",
	Together: func(params map[string]string) error {
		if params["ca"] != "" && params["sslmode"] == "disable" {
			return errors.New(`parameter "ca" needs TLS`)
		}
		return nil
	},
	Finish: func(t *vocabulary.Translation) error {
		maps.Copy(t.Params, t.Notes)
		return nil
	},
}

func TestCheck(t *testing.T) {
	for _, c := range []struct{ params, want string }{
		{"", ""},
		{"sslmode=require&ca=/ca.pem&timeout=5&label=", ""},
		{"sslmode=CANARY", `parameter "sslmode": it has to be one of disable, require`},
		{"timeout=61", `parameter "timeout": it has to be a number of seconds`},
		{"timeout=-1", "number of seconds"},
		{"timeout=+1", "number of seconds"},
		{"ca=", `parameter "ca": it has to be the name of a file`},
		{"ca=/ca.pem&sslmode=disable", `parameter "ca" needs TLS`},
		{"label=a\x00b", `parameter "label": a NUL character`},
		{"token=CANARY", `parameter "token" is not allowed: the secret has it`},
		{"krb4=CANARY", `parameter "krb4" is not allowed: no Kerberos`},
		{"krb5-realm=CANARY", `parameter "krb5-realm" is not allowed: no Kerberos 5`},
		{"a b=CANARY", "a parameter has a name that none has"},

		// Settings of the server.
		{"work_mem=4MB&lock_timeout=1s&new_in_version_99=1", ""},
		{"password_encryption=md5&x_auth_method=1&application_name=a", ""},
		{"work_mem=1&WORK_MEM=2", `parameters "WORK_MEM" and "work_mem" are the same`},
		{"sslMode=CANARY", `did you mean "sslmode"?`},
		{"ssl_mode=CANARY", `did you mean "sslmode"?`},
		{"sslmod=CANARY", `did you mean "sslmode"?`},
		{"tiemout=CANARY", `did you mean "timeout"?`},
		{"use_ssl=CANARY", `did you mean "sslmode"?`},
		{"LoginTimeout=CANARY", `did you mean "timeout"?`},
		{"aplication_name=CANARY", `did you mean "application_name"?`},
		{"Autosave=CANARY", `parameter "Autosave" is not known`},
		{"keep_alive=CANARY", `parameter "keep_alive" is not known`},
		{"encrypt=CANARY", `a name with "crypt" in it is not passed on to the server`},
		{"require_tls=CANARY", `"tls"`},
		{"clientcertificate=CANARY", `"cert"`},
		{"verifyserver=CANARY", `"verify"`},
		{"trustall=CANARY", `"trust"`},
		{"secureonly=CANARY", `"secure"`},
		{"authmech=CANARY", `"auth"`},
		{"user=CANARY", `parameter "user" is not allowed`},
		{"Pass_File=CANARY", "is not allowed"},
		{"host=CANARY", "is not allowed"},
	} {
		params := map[string]string{}
		for pair := range strings.SplitSeq(c.params, "&") {
			if name, value, ok := strings.Cut(pair, "="); ok {
				params[name] = value
			}
		}
		err := words.Check(params)
		switch {
		case (err == nil) != (c.want == ""), err != nil && !strings.Contains(err.Error(), c.want):
			t.Errorf("Check(%q) = %v, want %q", c.params, err, c.want)
		case err != nil && strings.Contains(err.Error(), "CANARY"):
			t.Errorf("Check(%q) quotes a value: %v", c.params, err)
		}
	}
}

func TestReadReturnsNamesAsTheVendorHasThem(t *testing.T) {
	v := &vocabulary.Vocabulary{
		Params: map[string]vocabulary.Param{"PACKET SIZE": {}, "SSL": {}},
		Fold:   func(name string) string { return strings.ReplaceAll(strings.ToUpper(name), "_", " ") },
	}
	got, err := v.Read(map[string]string{"packet_size": "1", "ssl": "2"})
	if err != nil || fmt.Sprint(got) != "map[PACKET SIZE:1 SSL:2]" {
		t.Errorf("Read = %v, %v", got, err)
	}
	if _, err := v.Read(map[string]string{"Packet Size": "1", "packet_size": "2"}); err == nil || !strings.Contains(err.Error(), "are the same") {
		t.Errorf("one parameter twice: %v", err)
	}
	if _, err := v.Read(map[string]string{"other": "1"}); err == nil || !strings.Contains(err.Error(), `"other" is not known`) {
		t.Errorf("another name, and no server to judge it: %v", err)
	}
}

func TestAClosedListOfSettings(t *testing.T) {
	v := &vocabulary.Vocabulary{Server: &vocabulary.Settings{Names: []string{"query_group", "search_path"}}}
	if err := v.Check(map[string]string{"Search_Path": "a"}); err != nil {
		t.Error(err)
	}
	if err := v.Check(map[string]string{"serch_path": "a"}); err == nil || !strings.Contains(err.Error(), `did you mean "search_path"?`) {
		t.Errorf("got %v", err)
	}
}

func TestFilesReturnsTheFilesThatParametersName(t *testing.T) {
	if got := words.Files(map[string]string{"ca": "/ca.pem", "sslmode": "require"}); fmt.Sprint(got) != "map[ca:/ca.pem]" {
		t.Errorf("Files = %v", got)
	}
}

func TestParseURL(t *testing.T) {
	own := func(name string) bool { return name == "stage" }
	for _, c := range []struct{ url, want string }{
		{"db://h:1/app?user=id", "id at h:1/app map[]"},
		{"db:///a%2Fb?user=id&stage=X&work_mem=4+MB", "id at :0/a/b map[stage:X work_mem:4+MB]"},
		{"db://[::1]:1/?user=id&ApplicationName=a%20b&loginTimeout=5", "id at ::1:1/ map[application_name:a b timeout:5]"},
		{"db://h/?user=id&readOnly=true&keepAlive=true&ssl", "id at h:0/ map[default_read_only:on sslmode:require]"},
		{"db://h/?user=id&readOnly=false", "id at h:0/ map[]"},

		{"db://h/app", `the URL has no "user"`},
		{"db://h/a/b?user=id", `a "/" too many`},
		{"db://h:x/?user=id", "the port is not a number"},
		{"db://u:CANARY@h/?user=id", "credentials before its host"},
		{"db://h/?user=id&password=CANARY", `property "password" is not allowed`},
		{"db://h/?user=id&User=CANARY", `spelled "user"`},
		{"db://h/?user=id&CANARY", "a property has no value"},
		{"db://h/?user=id&readOnly=CANARY", `property "readOnly": a value without a counterpart in vend`},
		{"db://h/?user=id&keepAlive=CANARY", "counterpart in vend; set it on the dialer"},
		{"db://h/?user=id&factory=CANARY", `property "factory": it has no counterpart in vend; ca names authorities`},
		{"db://h/?user=id&autosave=CANARY", `property "autosave": it has no counterpart in vend`},
		{"db://h/?user=id&cache.size=CANARY", `property "cache.size": it has no counterpart in vend`},
		{"db://h/?user=id&loginTimeout=CANARY", `property "loginTimeout": it has to be a number of seconds`},
		{"db://h/?user=id&loginTimeout=5&timeout=6", `properties "loginTimeout" and "timeout" are the same`},
	} {
		u, err := words.ParseURL(c.url, own)
		got := fmt.Sprintf("%s at %s:%d/%s %v", u.SecretID, u.Host, u.Port, u.Database, u.Params)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) || strings.Contains(got, "CANARY") {
			t.Errorf("ParseURL(%q): %s\nwant %s", c.url, got, c.want)
		}
	}
}
