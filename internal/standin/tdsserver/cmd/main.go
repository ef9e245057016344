// Command cmd starts a stand-in for SQL Server with one login and prints its port, for clients that
// are not part of a Go test. It ends when its standard input ends.
//
//	go run ./internal/standin/tdsserver/cmd [-encryption off|available|force] [-user name] [-password text]
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"os"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/tdsserver"
)

func main() {
	encryption := flag.String("encryption", "off", "off, available or force")
	user := flag.String("user", "app_user", "the login")
	password := flag.String("password", "", "its password")
	flag.Parse()
	o := tdsserver.Options{Databases: []string{"app"}, Force: *encryption == "force"}
	if *encryption != "off" {
		o.TLS = selfSigned()
	}
	s, err := tdsserver.Start(o)
	if err != nil {
		log.Fatal(err)
	}
	s.SetPassword(*user, *password)
	fmt.Println(s.Port)
	_, _ = io.Copy(io.Discard, os.Stdin)
	for _, l := range s.Seen() {
		fmt.Printf("user %q, database %q, client %q, login encrypted: %t, all encrypted: %t, Windows: %t, error %d\n",
			l.User, l.Database, l.Library, l.Encrypted, l.Full, l.Windows, l.Number)
	}
	_ = s.Close()
}

func selfSigned() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		log.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
