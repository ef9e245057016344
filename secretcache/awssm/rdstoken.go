package awssm

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	opToken = "sign RDS token"

	// rdsTokenLife is how long Amazon RDS accepts a token.
	rdsTokenLife = 15 * time.Minute
	// emptyHash is the SHA-256 of the empty body of a token's request.
	emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// RDSToken returns a token that user sends in place of a password to log in to a database of
// Amazon RDS or Aurora, or to RDS Proxy. host must be the name that RDS gave the database, and
// port the port that the client dials; it has no default. The credentials need the permission
// rds-db:connect for the user; only the database checks that.
//
// The token is signed with the credentials that the Source uses for Secrets Manager. With
// Options.Client they are those of Options.Config or, if that is nil, of the SDK's default
// configuration. Signing calls no server. The database accepts the token until expires: for 15
// minutes, or until the credentials expire if that is sooner.
//
// The region is the one in host, such as db.c1a2b3.us-west-2.rds.amazonaws.com. If host has
// none, it is region, and if that is empty, the region of secrets whose id is a name
// (Options.Region).
//
// The token is as secret as a password: do not log it. Errors are [*Error].
func (s *Source) RDSToken(ctx context.Context, region, host string, port int, user string) (token string, expires time.Time, err error) {
	if in := rdsRegion(host); in != "" {
		region = in
	}
	rt, f := s.routeTo(ctx, region)
	if f != nil {
		return "", time.Time{}, f.in(s, opToken, "", rt.region)
	}
	creds, f := s.retrieve(ctx, rt.cfg)
	if f != nil {
		return "", time.Time{}, f.in(s, opToken, "", rt.region)
	}
	now := time.Now()
	token, err = signRDS(ctx, creds, rt.region, net.JoinHostPort(host, strconv.Itoa(port)), user, now)
	if err != nil {
		return "", time.Time{}, (&failure{class: local, cause: &cause{text: err.Error()}}).in(s, opToken, "", rt.region)
	}
	expires = now.Add(rdsTokenLife)
	if creds.CanExpire && creds.Expires.Before(expires) {
		expires = creds.Expires
	}
	return token, expires, nil
}

// retrieve returns the configuration's credentials.
func (s *Source) retrieve(ctx context.Context, cfg *aws.Config) (aws.Credentials, *failure) {
	creds, err := newCredentials(cfg.Credentials).Retrieve(ctx)
	switch phase := (*credentialsError)(nil); {
	case err == nil:
		return creds, nil
	case ctx.Err() != nil && errors.As(err, &phase):
		return aws.Credentials{}, &failure{class: ended, cause: causeOf(ctx.Err()).with(phase.phase + ": " + ctx.Err().Error())}
	}
	return aws.Credentials{}, &failure{class: local, cause: cleanLocal(err)}
}

// signRDS signs a request that is never sent. Its URL without the scheme is the token. See
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.Connecting.html.
func signRDS(ctx context.Context, creds aws.Credentials, region, address, user string, now time.Time) (string, error) {
	const scheme = "https://"
	errHost := errors.New("a token is for one host with a name or an address")
	if strings.ContainsAny(address, ",/") { // a list, or a socket
		return "", errHost
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+address+"/?"+url.Values{
		"Action":        {"connect"},
		"DBUser":        {user},
		"X-Amz-Expires": {strconv.Itoa(int(rdsTokenLife / time.Second))},
	}.Encode(), nil)
	if err != nil {
		return "", errHost // the cause quotes the URL
	}
	signed, _, err := v4.NewSigner().PresignHTTP(ctx, creds, req, emptyHash, "rds-db", region, now.UTC())
	if err != nil {
		return "", errors.New("the SDK could not sign the token")
	}
	return strings.TrimPrefix(signed, scheme), nil
}

// The host name of an instance, a cluster or a proxy has the region before "rds", and in
// China after it.
var rdsName = regexp.MustCompile(`(?i)\.(?:([a-z]{2,}(?:-[a-z]+)+-[0-9]+)\.rds|rds\.([a-z]{2,}(?:-[a-z]+)+-[0-9]+))\.amazonaws\.(?:com|com\.cn|eu)\.?$`)

// rdsRegion returns the region in the name that RDS gave a host, or "".
func rdsRegion(host string) string {
	m := rdsName.FindStringSubmatch(host)
	if m == nil {
		return ""
	}
	return strings.ToLower(m[1] + m[2])
}
