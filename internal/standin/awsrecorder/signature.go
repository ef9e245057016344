package awsrecorder

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// checkSignature reads the header Authorization and compares the signature with its own, made as
// "AWS Signature Version 4 for API requests" of the IAM user guide says. It supports paths of
// unreserved characters, and no queries.
func (s *Request) checkSignature(req *http.Request, u url.URL, body []byte) {
	auth := req.Header.Get("Authorization")
	if auth == "" {
		return
	}
	params, ok := strings.CutPrefix(auth, "AWS4-HMAC-SHA256 ")
	field := map[string]string{}
	for p := range strings.SplitSeq(params, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		field[key] = value
	}
	keyID, scope, _ := strings.Cut(field["Credential"], "/")
	part := strings.Split(scope, "/") // date, region, service, aws4_request
	if !ok || len(part) != 4 || part[3] != "aws4_request" {
		s.SignatureErr = fmt.Errorf("header Authorization is %q", auth)
		return
	}
	s.KeyID, s.Region, s.Service = keyID, part[1], part[2]
	secret := map[string]string{KeyID: SecretKey, RoleKeyID: RoleSecretKey}[keyID]
	if secret == "" {
		s.SignatureErr = fmt.Errorf("access key %q is unknown", keyID)
		return
	}
	signed := strings.Split(field["SignedHeaders"], ";")
	for _, must := range []string{"host", "x-amz-date", "x-amz-security-token", "x-amz-target"} {
		if (must == "host" || req.Header.Get(must) != "") && !strings.Contains(";"+field["SignedHeaders"]+";", ";"+must+";") {
			s.SignatureErr = fmt.Errorf("header %s is not signed", must)
			return
		}
	}

	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	canonical := req.Method + "\n" + path + "\n" + req.URL.RawQuery + "\n"
	for _, name := range signed {
		value := strings.Join(req.Header.Values(name), ",")
		switch name {
		case "host":
			value = u.Host
		case "content-length":
			value = strconv.FormatInt(req.ContentLength, 10)
		}
		canonical += name + ":" + strings.TrimSpace(value) + "\n"
	}
	canonical += "\n" + field["SignedHeaders"] + "\n" + digest(body)

	date := req.Header.Get("X-Amz-Date")
	key := mac([]byte("AWS4"+secret), part[0])
	for _, p := range part[1:] {
		key = mac(key, p)
	}
	want := hex.EncodeToString(mac(key, "AWS4-HMAC-SHA256\n"+date+"\n"+scope+"\n"+digest([]byte(canonical))))
	if field["Signature"] != want || !strings.HasPrefix(date, part[0]) {
		s.SignatureErr = errors.New("the signature is not one of this request")
	}
}

func mac(key []byte, data string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(data))
	return h.Sum(nil)
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
