package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/awsregion"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// The exit codes. docs/command.md documents them.
const (
	exitOK         = 0
	exitOther      = 1
	exitUsage      = 2  // wrong arguments or data source name
	exitIdentity   = 3  // AWS credentials or region
	exitPermission = 4  // the AWS identity lacks a permission
	exitNoSecret   = 5  // no such secret or version
	exitSource     = 6  // the source of secrets does not answer, or gives a wrong answer
	exitContent    = 7  // the secret's value
	exitNetwork    = 8  // the network between this machine and the database
	exitTLS        = 9  // TLS with the database
	exitRejected   = 10 // the database rejected the login
	exitDatabase   = 11 // another error of the database, or no answer
)

// A failure is the reason why a step failed.
type failure struct {
	c    *check
	step string // the step that noticed the failure
	err  error
	text string // the text of err, cleaned
}

// reason returns the failure's text for the end of the first line. It leaves out what a driver.Error
// says before its cause: the operation and the secret's id.
func (f *failure) reason() string {
	e := (*driver.Error)(nil)
	if errors.As(f.err, &e) && e.Err != nil {
		return f.c.clean(e.Err.Error())
	}
	return f.text
}

// has reports whether the error's text contains one of these parts. The secret's id does not count,
// because it may be a name such as "prod/proxy".
func (f *failure) has(parts ...string) bool {
	text := f.text
	if id := f.c.id; id != "" {
		text = strings.NewReplacer(strconv.Quote(id), "", "secret:"+id, "", "resource: "+id, "").Replace(text)
	}
	for _, p := range parts {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}

// api returns the code of the AWS service's error, or "".
func (f *failure) api() string {
	var e interface {
		error
		ErrorCode() string
	}
	if errors.As(f.err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// A cause is one kind of failure. In a list of causes, the first that matches is used.
type cause struct {
	code   string
	exit   int
	at     string // the step that it belongs to; empty means the step that noticed the failure
	match  func(f *failure) bool
	says   func(f *failure) string // returns the cause for the first line
	advice string                  // what to do, for the last line
}

// fixed returns a func for cause.says that always returns text.
func fixed(text string) func(*failure) string { return func(*failure) string { return text } }

// causes holds the list of causes for each step that can fail.
var causes = map[string][]cause{
	stepDSN:    dsnCauses,
	stepSource: sourceCauses,
	stepSecret: slices.Concat(identityCauses, secretCauses),
	stepFields: fieldCauses,
	stepName:   networkCauses,
	stepTCP:    slices.Concat(tlsCauses, loginCauses, networkCauses),
}

// diagnose returns the cause of a failure.
func diagnose(f *failure) cause {
	for _, one := range causes[f.step] {
		if one.match(f) {
			if one.at == "" {
				one.at = f.step
			}
			return one
		}
	}
	return cause{code: "other", exit: exitOther, at: f.step, says: func(f *failure) string { return f.text }}
}

// interrupted is the cause of every failure after SIGINT or SIGTERM.
var interrupted = cause{code: "interrupted", exit: exitOther, says: fixed("interrupted")}

var dsnCauses = []cause{
	{"database-url", exitUsage, "", func(f *failure) bool { return isDatabaseURL(f.c.target.dsn) },
		fixed("this is a database's own URL or connection string, not the name of a secret (it is not shown, because it may hold a password)"),
		`Give the name or ARN of the secret that holds the credentials: sqlsecrets check "prod/app/db?sslmode=verify-full". If the URL holds a password, that password is now in your shell's history.`},
	{"region-typo", exitUsage, "", func(f *failure) bool { return f.has("did you mean") && f.has("AWS has no") },
		func(f *failure) string { return "the region is misspelled: " + f.reason() }, "Correct the region in the data source name."},
	{"wrong-engine", exitContent, "", func(f *failure) bool { return errors.Is(f.err, driver.ErrEngineMismatch) },
		func(f *failure) string { return "the driver is for another engine: " + f.reason() }, "Use the driver for the engine in the data source name, or correct the engine there."},
	{"arn", exitUsage, "", func(f *failure) bool { return f.has("the ARN") },
		func(f *failure) string { return "this is not the ARN of a secret: " + f.reason() }, "Copy the secret's whole ARN. It ends with a hyphen and six characters that AWS adds to the name."},
	{"data-source-name", exitUsage, "", func(f *failure) bool { return f.has("the driver is not one of") },
		func(f *failure) string { return f.reason() }, "Give one of these names. Without a driver's name, the engine comes from the data source name or the secret."},
	{"data-source-name", exitUsage, "", func(f *failure) bool { return f.c.target.dsn == "" },
		fixed("the data source name is empty"), adviceDSN},
	{"data-source-name", exitUsage, "", func(*failure) bool { return true },
		func(f *failure) string { return f.reason() }, adviceDSN},
}

const adviceDSN = "docs/dsn.md lists the parameters of a data source name."

var sourceCauses = []cause{
	{"configuration", exitUsage, "", func(*failure) bool { return true },
		func(f *failure) string { return f.reason() }, "Correct the environment variable."},
}

const proxyAdvice = "Check HTTPS_PROXY and NO_PROXY. The proxy must allow requests to the Secrets Manager endpoint, or NO_PROXY must contain the endpoint."

var identityCauses = []cause{
	{"region-typo", exitIdentity, "", func(f *failure) bool { return awsregion.Meant(f.c.region) != "" && !answered(f) },
		func(f *failure) string {
			return fmt.Sprintf("AWS has no region %q; did you mean %q?", f.c.region, awsregion.Meant(f.c.region))
		}, "Correct the region."},
	{"no-region", exitIdentity, "", func(f *failure) bool { return f.has("no AWS region") },
		fixed("no AWS region is set"), `Set AWS_REGION, give "region" in the data source name, or name the secret by its ARN.`},
	{"no-credentials", exitIdentity, "", func(f *failure) bool { return f.has("no AWS credentials found") },
		fixed("no AWS credentials found"), "Set AWS_PROFILE, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the instance, task or pod an IAM role."},
	{"no-credentials", exitIdentity, "", func(f *failure) bool { return f.has("failed to get shared config profile") },
		fixed("no AWS credentials: the AWS configuration has no such profile"), "Check the profile's name in the data source name or in AWS_PROFILE. This command lists the profiles of this user: aws configure list-profiles."},
	{"expired-credentials", exitIdentity, "", func(f *failure) bool {
		return strings.HasPrefix(f.api(), "ExpiredToken") || f.api() == "RequestExpired" || f.has("is expired", "has expired") && f.has("token")
	}, fixed("the AWS credentials have expired"), "Get new credentials, for example with aws sso login or from a new session. A session token in an environment variable does not renew itself."},
	{"wrong-credentials", exitIdentity, "", func(f *failure) bool {
		switch f.api() {
		case "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch", "InvalidAccessKeyId", "IncompleteSignature":
			return true
		}
		return false
	}, fixed("AWS does not accept the credentials"), "Check that the access key, the secret access key and the session token belong together. Check the clock of this machine, too."},
}

// action finds the missing action in the service's error text.
var action = regexp.MustCompile(`not authorized to perform: ([A-Za-z0-9-]+:[A-Za-z0-9*]+)`)

// missing returns the action that the AWS identity is not allowed to call.
func missing(f *failure) string {
	if m := action.FindStringSubmatch(f.text); m != nil {
		return m[1]
	}
	if f.has("Access to KMS is not allowed") || f.api() == "DecryptionFailure" {
		return "kms:Decrypt"
	}
	return "secretsmanager:GetSecretValue"
}

// isPartialARN reports whether a secret's ARN seems to lack the six characters that AWS adds to the
// name. Six lower-case letters at the end count as a word of the name, because AWS hardly ever adds
// those.
func isPartialARN(id string) bool {
	return strings.HasPrefix(id, "arn:") && (!suffix.MatchString(id) || wordSuffix.MatchString(id))
}

var (
	suffix     = regexp.MustCompile(`-[A-Za-z0-9]{6}$`)
	wordSuffix = regexp.MustCompile(`-[a-z]{6}$`)
)

var secretCauses = []cause{
	{"access-denied-kms", exitPermission, "", func(f *failure) bool { return strings.HasPrefix(missing(f), "kms:") },
		fixed("access denied: the AWS identity lacks kms:Decrypt for the key that encrypts the secret"),
		"Allow kms:Decrypt for that key in the identity's policy and in the key's policy. Check that the key is enabled."},
	{"access-denied-role", exitPermission, "", func(f *failure) bool { return strings.HasPrefix(missing(f), "sts:") },
		func(f *failure) string {
			return "access denied: the AWS identity lacks " + missing(f) + " for the role"
		},
		"Allow that action in the identity's policy. The role's trust policy must name the identity. Check externalId, too."},
	{"access-denied-partial-arn", exitPermission, "", func(f *failure) bool {
		return errors.Is(f.err, secretcache.ErrAccessDenied) && isPartialARN(f.c.id)
	}, func(f *failure) string {
		return "access denied: the AWS identity lacks " + missing(f) + " for this ARN. The ARN seems to be partial: it lacks the six characters that AWS adds to the name"
	}, "Give the full ARN. A policy that allows the full ARN does not allow the partial one."},
	{"access-denied", exitPermission, "", func(f *failure) bool { return errors.Is(f.err, secretcache.ErrAccessDenied) },
		func(f *failure) string {
			return "access denied: the AWS identity lacks " + missing(f) + " for this secret"
		},
		"Allow that action in the identity's policy for the secret's ARN. If it is allowed there, check the policies of the secret, the VPC endpoint and the organization."},
	{"deleted", exitNoSecret, "", func(f *failure) bool {
		return errors.Is(f.err, secretcache.ErrNotFound) && f.has("deletion", "deleted")
	}, fixed("the secret is marked for deletion"), "Restore it (aws secretsmanager restore-secret), or give the name of another secret."},
	{"partial-arn", exitNoSecret, "", func(f *failure) bool {
		return errors.Is(f.err, secretcache.ErrNotFound) && isPartialARN(f.c.id)
	}, func(f *failure) string {
		return "there is no secret with this ARN in " + f.c.where() + ", and the ARN seems to be partial: it lacks the six characters that AWS adds to the name"
	}, "Give the full ARN, or the secret's name."},
	{"not-found", exitNoSecret, "", func(f *failure) bool { return errors.Is(f.err, secretcache.ErrNotFound) },
		func(f *failure) string {
			if f.c.region == "" {
				return "the source " + f.c.where() + " has no such secret"
			}
			return "there is no such secret in " + f.c.where() + "; the name or the region is wrong"
		},
		"Check the name, the region and the account: aws secretsmanager list-secrets --region REGION. docs/sources.md explains how other sources find a secret."},
	{"no-version", exitNoSecret, "", func(f *failure) bool { return errors.Is(f.err, secretcache.ErrNoVersion) },
		func(f *failure) string { return "the secret has no version with the stage " + f.c.plan.Stage },
		"Store a value in the secret, or check the stage in the data source name."},
	{"throttled", exitSource, "", func(f *failure) bool { return errors.Is(f.err, secretcache.ErrThrottled) },
		fixed("Secrets Manager throttles the account's requests"),
		"Some program in the account calls Secrets Manager very often; CloudTrail shows which. Programs with this library keep a secret for an hour by default."},
	{"proxy", exitSource, "", func(f *failure) bool { return f.has("proxy") },
		fixed("the request to Secrets Manager fails at an HTTP proxy"), proxyAdvice},
	{"agent-not-running", exitSource, "", func(f *failure) bool { return f.c.asksAgent() && refused(f.err) },
		fixed("the Secrets Manager Agent or the Lambda extension is not running: nothing listens at its port"),
		"Start it, or check its port: PARAMETERS_SECRETS_EXTENSION_HTTP_PORT, or \"endpoint\" in the data source name. See docs/agent.md."},
	{"agent-token", exitSource, "", func(f *failure) bool { return f.c.asksAgent() && f.has("no token") },
		fixed("the token of the Secrets Manager Agent is missing: the agent is not running on this machine, or this process may not read the token"),
		"Start the agent, or set AWS_TOKEN to the token or to file:// and the path of its file. See docs/agent.md."},
	{"source-tls", exitSource, "", func(f *failure) bool { return f.has("x509:", "tls:") },
		fixed("TLS with Secrets Manager fails"), "A proxy may decrypt the connection. If so, set AWS_CA_BUNDLE to a file with the proxy's CA certificate."},
	{"source-unreachable", exitSource, "", func(f *failure) bool { return !answered(f) && f.has("of AWS STS") },
		fixed("AWS STS cannot be reached or does not answer, so there are no credentials for the role"),
		"Check the network path to AWS STS: its own VPC endpoint, NAT, DNS, security groups. Check AWS_ENDPOINT_URL_STS, too."},
	{"source-unreachable", exitSource, "", func(f *failure) bool { return !answered(f) },
		func(f *failure) string { return "Secrets Manager cannot be reached or does not answer" },
		"Check the network path to the endpoint: VPC endpoint, NAT, DNS, security groups. Check AWS_ENDPOINT_URL_SECRETS_MANAGER, too."},
	{"source", exitSource, "", func(*failure) bool { return true },
		func(f *failure) string { return "the secret could not be read: " + f.reason() }, ""},
}

// refused reports whether err says that nothing listens at a port. Some errors say so only in their
// text, which differs on Windows.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) ||
		err != nil && (strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "actively refused"))
}

// answered reports whether the source answered, also with an error.
func answered(f *failure) bool {
	var network net.Error
	return f.api() != "" || f.has("status ") || !(errors.As(f.err, &network) || errors.Is(f.err, context.DeadlineExceeded) || f.has("dial tcp", "no answer", "connection"))
}

var fieldCauses = []cause{
	{"data-source-name", exitUsage, "", func(f *failure) bool { return errors.Is(f.err, driver.ErrBadDSN) },
		func(f *failure) string { return f.reason() }, adviceDSN},
	{"wrong-engine", exitContent, "", func(f *failure) bool { return errors.Is(f.err, driver.ErrEngineMismatch) },
		func(f *failure) string { return "the driver does not fit the secret's engine: " + f.reason() }, "Use the driver for the secret's engine."},
	{"no-engine", exitContent, "", func(f *failure) bool { return f.has(`key "engine" is missing`) },
		func(f *failure) string {
			return `the secret does not name the engine; secrets that RDS or Redshift manages do not have it`
		}, `Give "engine" in the data source name, or use the driver for one engine, such as secretsmanager-postgres.`},
	{"no-host", exitContent, "", func(f *failure) bool { return f.has("is missing; secrets that RDS or Redshift manages have none") },
		fixed("the secret has no host; secrets that RDS or Redshift manages do not have one"), `Give "host" (and "dbname") in the data source name.`},
	{"wrong-key", exitContent, "", func(f *failure) bool { return f.has("is missing, and ") },
		func(f *failure) string { return "a key in the secret has another name than expected: " + f.reason() }, "Give the key's name in the data source name, or rename the key in the secret."},
	{"malformed-secret", exitContent, "", func(*failure) bool { return true },
		func(f *failure) string { return "the secret's value cannot be used: " + f.reason() }, "docs/dsn.md lists the keys that a secret should have."},
}

var tlsCauses = []cause{
	{"tls-file", exitTLS, stepTLS, func(f *failure) bool {
		return !f.c.dialed() && (errors.Is(f.err, fs.ErrNotExist) || f.has("no such file"))
	}, func(f *failure) string { return "a file from the data source name is missing: " + f.reason() }, "Check the path. The file must be in the container or on the machine where this command runs."},
	{"tls-name", exitTLS, stepTLS, func(f *failure) bool {
		return is[x509.HostnameError](f.err) || f.has("certificate is valid for", "cannot validate certificate for", "not valid for any names")
	}, fixed("the server's certificate does not contain the host's name"), "Connect by a name that is in the certificate. For RDS that is the endpoint's name, not a CNAME and not an IP address."},
	{"tls-authority", exitTLS, stepTLS, func(f *failure) bool {
		return is[x509.UnknownAuthorityError](f.err) || f.has("signed by unknown authority", "certificate is not trusted")
	}, fixed("the server's certificate is from an unknown authority"), "Give the file with the authority's certificate in the data source name: for RDS, global-bundle.pem. docs/tls.md shows the parameter for each engine."},
	{"tls-certificate", exitTLS, stepTLS, func(f *failure) bool {
		return is[x509.CertificateInvalidError](f.err) || f.has("has expired or is not yet valid", "not valid now")
	}, fixed("the server's certificate is not valid now"), "Renew the certificate. Check the clock of this machine, too."},
	{"tls", exitTLS, stepTLS, func(f *failure) bool { return f.has("neither yes nor no") },
		fixed("the server does not answer like a PostgreSQL server"), "Check that host and port are the database's."},
	{"tls-secret", exitTLS, stepTLS, func(f *failure) bool { return noTLS(f) && f.c.plan.Encrypt && len(f.c.tlsParams()) == 0 },
		fixed(`the secret's "ssl" requires TLS, but the server has no TLS`), `Turn TLS on at the server, or remove "ssl" from the secret.`},
	{"tls-refused", exitTLS, stepTLS, noTLS,
		fixed("the server has no TLS, but the data source name requires it"), "Turn TLS on at the server, or check that host and port are the database's."},
	{"tls-required", exitTLS, stepTLS, func(f *failure) bool {
		return f.has("requires encryption, and", "the server requires it, and", "the server may require it, and", "require_secure_transport", "requires TLS")
	}, func(f *failure) string {
		if f.has("the server may require it") {
			return "the server has no rule for this login without TLS (pg_hba.conf), and the data source name turns TLS off"
		}
		return "the server requires TLS, but the data source name turns TLS off"
	}, "Remove the parameter that turns TLS off."},
	{"tls", exitTLS, stepTLS, func(f *failure) bool { return f.has("tls: ", "x509: ", "TLS Handshake", "TLS with ") },
		func(f *failure) string { return "TLS with the server fails: " + f.reason() }, "docs/tls.md explains the parameters."},
}

// noTLS reports whether TLS was required but the server has none.
func noTLS(f *failure) bool {
	return f.has("server refused TLS connection", "server does not support TLS", "server does not support encryption", "does not answer with TLS", "first record does not look like a TLS handshake")
}

// is reports whether err, or an error that it wraps, is a T.
func is[T error](err error) bool {
	var t T
	return errors.As(err, &t)
}

var loginCauses = []cause{
	{"no-driver", exitUsage, stepTCP, func(f *failure) bool { return f.has("no driver is registered as") },
		fixed("this command is built without IBM's driver for Db2, so it cannot log in to Db2"), "The steps above this one were checked. Check the rest with IBM's db2cli validate."},
	{"account-locked", exitRejected, stepLogin, func(f *failure) bool { return f.c.accountLocked(f.err) },
		fixed("the database has locked the account"), "Unlock the account, and find the program that logs in with a wrong password. This command sends at most one login for each version of the secret."},
	{"no-database", exitDatabase, stepLogin, func(f *failure) bool { return f.c.noDatabase(f.err) },
		func(f *failure) string {
			return fmt.Sprintf("the server has no database %q", f.c.field("dbname").Value)
		}, `Correct the name in the secret, or give "dbname" in the data source name.`},
	{"rotation-under-way", exitRejected, stepLogin, func(f *failure) bool { return errors.Is(f.err, driver.ErrAuthFailed) && f.c.pending != "" },
		func(f *failure) string {
			return "the database rejected the password of every version, and a rotation is under way: " + f.c.pending
		}, "Wait until the rotation ends. If it does not end, read the log of the rotation function, and rotate again."},
	{"iam-rejected", exitRejected, stepLogin, func(f *failure) bool { return errors.Is(f.err, driver.ErrAuthFailed) && f.c.plan.IAM },
		fixed("the database rejected the IAM token"), "Allow rds-db:connect for the user. In the database, grant rds_iam (PostgreSQL) or use AWSAuthenticationPlugin (MySQL). The host must be the endpoint's own name."},
	{"wrong-password", exitRejected, stepLogin, func(f *failure) bool { return errors.Is(f.err, driver.ErrAuthFailed) },
		fixed("the database rejected the user or the password in the secret"), "The secret and the database differ: one of them was changed alone. Rotate the secret, or write the database's password into it. Check that host and port are those of the right database."},
	{"database", exitDatabase, stepLogin, func(f *failure) bool { return f.c.reached() && !errors.Is(f.err, context.DeadlineExceeded) },
		func(f *failure) string { return "the login failed: " + f.reason() }, "Check that host and port are those of a database of this engine. The server's log may say more."},
	{"no-answer", exitDatabase, stepLogin, func(f *failure) bool { return f.c.reached() },
		fixed("the server accepts connections but does not answer in time"), "The server may be overloaded, or it is not a database of this engine: check host and port."},
}

var networkCauses = []cause{
	{"host-not-found", exitNetwork, stepName, func(f *failure) bool {
		return f.step == stepName || is[*net.DNSError](f.c.dialError()) || !f.c.dialed() && is[*net.DNSError](f.err)
	},
		func(f *failure) string {
			if e := (*net.DNSError)(nil); errors.As(f.err, &e) && !e.IsNotFound {
				return "the host name cannot be resolved: " + f.text
			}
			return fmt.Sprintf("the host name %s has no address", f.c.field("host").Value)
		}, "Check the name. Check that this machine's DNS server knows it: a name in a private zone is known only in the VPCs of that zone."},
	{"port-closed", exitNetwork, stepTCP, func(f *failure) bool { return refused(f.c.dialError()) },
		func(f *failure) string { return "nothing listens at " + f.c.plan.Address },
		"Check the port, and that the database runs."},
	{"port-closed", exitNetwork, stepTCP, func(f *failure) bool { return errors.Is(f.c.dialError(), fs.ErrNotExist) },
		func(f *failure) string { return "there is no socket " + f.c.plan.Address },
		"Check the path. The database must run on this machine, and if this is a container, the socket must be mounted in it."},
	{"unreachable", exitNetwork, stepTCP, func(f *failure) bool { return f.c.dialed() },
		func(f *failure) string { return f.c.plan.Address + " cannot be reached" },
		"Check security groups, network ACLs and routes, and that this machine is in the right network."},
	{"timeout", exitNetwork, stepTCP, func(f *failure) bool { return errors.Is(f.err, context.DeadlineExceeded) },
		func(f *failure) string { return f.c.plan.Address + " does not answer in time" },
		"Check security groups, network ACLs and routes, and that this machine is in the right network."},
	{"configuration", exitUsage, stepTLS, func(*failure) bool { return true },
		func(f *failure) string { return f.reason() }, "A parameter of the data source name does not fit the secret or this machine."},
}
