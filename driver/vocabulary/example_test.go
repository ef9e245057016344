package vocabulary_test

import (
	"crypto/tls"
	"fmt"
	"log"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
)

// An engine's CheckParams calls Check of its vocabulary, and its ParseURL calls ParseURL.
func ExampleVocabulary() {
	v := &vocabulary.Vocabulary{
		Vendor: "lib/pq",
		Params: map[string]vocabulary.Param{
			"sslmode":         {Check: vocabulary.OneOf("disable", "require", "verify-full")},
			"connect_timeout": {Check: vocabulary.Number("a number of seconds", 0, 3600)},
		},
		Properties: map[string]vocabulary.Property{
			"currentSchema": {Param: "search_path"},
			"loginTimeout":  {Param: "connect_timeout"},
		},
		Server: &vocabulary.Settings{}, // all other names are settings of the server
	}
	fmt.Println(v.Check(map[string]string{"sslmode": "require", "work_mem": "4MB"}))
	fmt.Println(v.Check(map[string]string{"sslMode": "require"}))
	var u driver.URL
	u, err := v.ParseURL("postgresql://db:5432/app?user=prod/app&currentSchema=sales", func(string) bool { return false })
	fmt.Println(u.SecretID, u.Host, u.Port, u.Database, u.Params, err)
	// Output:
	// <nil>
	// parameter "sslMode" is not known; did you mean "sslmode"?
	// prod/app db 5432 app map[search_path:sales] <nil>
}

// Match, OneOf and Number check values. The error says what the value has to be, and does not quote it.
func ExampleMatch() {
	path := vocabulary.Match("an absolute path", func(v string) bool { return strings.HasPrefix(v, "/") })
	fmt.Println(path("/tmp"), path("tmp"))
	mode := vocabulary.OneOf("disable", "require")
	fmt.Println(mode("require"), mode("requre"))
	seconds := vocabulary.Number("a number of seconds", 0, 3600)
	fmt.Println(seconds("60"), seconds("1m"))
	fmt.Println(vocabulary.NotEmpty("a"), vocabulary.NotEmpty(""))
	// Output:
	// <nil> it has to be an absolute path
	// <nil> it has to be one of disable, require
	// <nil> it has to be a number of seconds
	// <nil> it is empty
}

// A property of a JDBC URL stands for a parameter of the vendor's driver, has no effect, or is an error.
func ExampleProperty() {
	v := &vocabulary.Vocabulary{
		Vendor: "lib/pq",
		Params: map[string]vocabulary.Param{"connect_timeout": {}},
		Properties: map[string]vocabulary.Property{
			"loginTimeout": {Param: "connect_timeout"},
			"readOnly":     vocabulary.Choose("default_transaction_read_only", "true", "on", "false", ""),
			"tcpKeepAlive": vocabulary.Only("Go has it on", "true"),
			"sslfactory":   vocabulary.None("sslrootcert names authorities"),
			"logLevel":     vocabulary.NoEffect(vocabulary.OneOf("off", "debug")),
		},
		Server: &vocabulary.Settings{},
	}
	for _, query := range []string{
		"loginTimeout=5&readOnly=true&tcpKeepAlive=true&logLevel=debug",
		"tcpKeepAlive=false",
		"sslfactory=org.example.Factory",
	} {
		u, err := v.ParseURL("postgresql://db/app?user=prod/app&"+query, func(string) bool { return false })
		fmt.Println(u.Params, err)
	}
	// Output:
	// map[connect_timeout:5 default_transaction_read_only:on] <nil>
	// map[] property "tcpKeepAlive": a value without a counterpart in lib/pq; Go has it on
	// map[] property "sslfactory": it has no counterpart in lib/pq; sslrootcert names authorities
}

// An engine's Prepare reads the files that parameters name. A file that is written only in part is an
// error.
func ExampleAuthorities() {
	certificates, err := vocabulary.Certificates("/etc/rds.pem")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("valid until", certificates[0].NotAfter)

	authorities, err := vocabulary.Authorities("/etc/rds.pem")
	if err != nil {
		log.Fatal(err)
	}
	client, err := vocabulary.KeyPair("/etc/client.pem", "/etc/client-key.pem")
	if err != nil {
		log.Fatal(err)
	}
	_ = &tls.Config{RootCAs: authorities, Certificates: []tls.Certificate{client}}
}
