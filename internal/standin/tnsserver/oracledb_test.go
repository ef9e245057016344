package tnsserver_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/tnsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// script reads credentials, logs in and prints the result.
const script = `
const oracledb = require("oracledb");
const read = require("fs").readFileSync;
(async () => {
  for (const login of JSON.parse(read(0, "utf8"))) {
    let outcome;
    try {
      const c = await oracledb.getConnection(login);
      await c.ping();
      const r = await c.execute("SELECT USER FROM DUAL");
      const one = await c.execute("SELECT 1 FROM DUAL");
      outcome = "logged in as " + r.rows[0][0] + ", " + one.rows[0][0];
      await c.close();
    } catch (e) {
      outcome = e.message.split("\n")[0];
    }
    console.log(JSON.stringify(outcome));
  }
})();
`

// Oracle's own client, without its C libraries, logs in as well. It also checks that the server has
// the key. .ci/independent-clients/oracledb installs the client and sets the variable.
func TestNodeOracledb(t *testing.T) {
	modules := os.Getenv("SQLSECRETS_ORACLEDB")
	if modules == "" {
		t.Skip("SQLSECRETS_ORACLEDB is not the node_modules folder with oracledb in it: see .ci/independent-clients/oracledb")
	}
	certs := testca.New("localhost", "127.0.0.1")
	plain := tnsserver.New(t, nil)
	breaking := tnsserver.New(t, &tnsserver.Options{BreakOnError: true})
	tcps := tnsserver.New(t, &tnsserver.Options{TLS: certs.Server})
	resending := tnsserver.New(t, &tnsserver.Options{TLS: certs.Server, ResendTLS: true})
	strange := tnsserver.New(t, &tnsserver.Options{TLS: testca.New("localhost", "127.0.0.1").Server})
	impostor := tnsserver.New(t, &tnsserver.Options{WrongProof: true})
	impostor.SetPassword("app", "pässwörd ';{}€")
	for _, s := range []*tnsserver.Server{plain, breaking, tcps, resending} {
		s.SetPassword("app", "pässwörd ';{}€")
		for _, user := range []string{"changed", "locked", "expired", "dropped"} {
			s.SetPassword(user, "x")
		}
		s.SetPassword("changed", "y")
		s.Lock("locked", true)
		s.Expire("expired")
		s.Drop("dropped")
	}
	authority := filepath.Join(t.TempDir(), "authority.pem")
	if err := os.WriteFile(authority, testca.PEM(certs.Authority.Raw), 0o600); err != nil {
		t.Fatal(err)
	}
	type login struct {
		User          string `json:"user"`
		Password      string `json:"password"`
		ConnectString string `json:"connectString"`
	}
	type attempt struct {
		what  string
		login login
		want  string // how the outcome begins
	}
	var all []attempt
	for _, s := range []struct {
		name   string
		server *tnsserver.Server
		prefix string
	}{{"TCP", plain, ""}, {"TCP, markers before errors", breaking, ""}, {"TCPS", tcps, "tcps://"}, {"TCPS, second handshake", resending, "tcps://"}} {
		add := func(what, user, password, service, want string) {
			all = append(all, attempt{s.name + ": " + what, login{user, password, s.prefix + s.server.Addr() + "/" + service}, want})
		}
		add("right password", "app", "pässwörd ';{}€", "ORCL", "logged in as APP, 1")
		add("wrong password", "app", "another", "ORCL", "ORA-01017")
		add("unknown user", "nobody", "another", "ORCL", "ORA-01017")
		add("changed password", "changed", "y", "ORCL", "logged in as CHANGED, 1")
		add("password before the change", "changed", "x", "ORCL", "ORA-01017")
		add("dropped user", "dropped", "x", "ORCL", "ORA-01017")
		add("locked account", "locked", "x", "ORCL", "ORA-28000")
		add("expired password", "expired", "x", "ORCL", "ORA-28001")
		add("unknown service", "app", "pässwörd ';{}€", "OTHER", "NJS-518") // 12514
	}
	sid := "(DESCRIPTION=(ADDRESS=(PROTOCOL=tcp)(HOST=" + plain.Host + ")(PORT=" + strings.Split(plain.Addr(), ":")[1] + "))(CONNECT_DATA=(SID="
	all = append(all,
		attempt{"TCP: SID", login{User: "app", Password: "pässwörd ';{}€", ConnectString: sid + "ORCLSID)))"}, "logged in as APP"},
		attempt{"TCP: unknown SID", login{User: "app", Password: "pässwörd ';{}€", ConnectString: sid + "OTHER)))"}, "NJS-519"}, // 12505
		attempt{"TCP: server without the password's hash", login{User: "app", Password: "pässwörd ';{}€", ConnectString: impostor.Addr() + "/ORCL"}, "NJS-173"},
		attempt{"TCPS: certificate of another authority", login{User: "app", Password: "pässwörd ';{}€", ConnectString: "tcps://" + strange.Addr() + "/ORCL"}, "NJS-506"})
	logins := make([]login, len(all))
	for i, a := range all {
		logins[i] = a.login
	}
	in, err := json.Marshal(logins)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "-e", script)
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules, "NODE_EXTRA_CA_CERTS="+authority)
	cmd.Stdin = strings.NewReader(string(in))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(all) {
		t.Fatalf("node printed %d lines for %d logins:\n%s", len(lines), len(all), out)
	}
	for i, a := range all {
		var got string
		if err := json.Unmarshal([]byte(lines[i]), &got); err != nil {
			t.Fatalf("node printed %s", lines[i])
		}
		t.Logf("%-45s %s", a.what, got)
		if !strings.HasPrefix(got, a.want) {
			t.Errorf("%s: %s, want %s", a.what, got, a.want)
		}
	}
	for _, s := range []*tnsserver.Server{breaking, tcps, resending} {
		if ok, bad := s.Logins("app"); ok != 1 || bad != 1 {
			t.Errorf("a server accepted %d logins of app and rejected %d, want one of each", ok, bad)
		}
	}
}
