package driver

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"

	"github.com/sqlsecrets/sqlsecrets/internal/awsregion"
)

// A Location says where secrets are fetched, and with which AWS identity. It has the values of the
// data source name's keys "region", "endpoint", "source", "profile", "roleArn" and "externalId". An
// empty field means the process's default, which package engines describes. Package engines
// returns an error for a field that has no effect on Source.
type Location struct {
	// Region is an AWS region, such as "us-west-2". Of several, such as "us-west-2,us-east-1", the
	// later ones are used if the first one fails. It takes precedence over the region in an ARN.
	// Empty means the ARN's region. For a secret's name it means the environment variable
	// AWS_SECRET_JDBC_REGION, or else the region that the AWS SDK finds.
	Region string
	// Endpoint is the URL of the server that Source asks: of the Secrets Manager API, such as
	// "https://vpce-….amazonaws.com", or of an agent. It is an error if Source asks two servers,
	// such as "agent,aws".
	Endpoint string
	// Source is what secrets are fetched from: "aws", "agent", "file:/mnt/secrets", or several
	// such as "agent,aws". Package engines lists them all.
	Source string
	// Profile is a profile of the shared AWS configuration, such as "reports". Its credentials
	// and its region are used.
	Profile string
	// RoleARN is a role to assume, such as "arn:aws:iam::123456789012:role/app". It is assumed
	// with the credentials of Profile, or with those of the process.
	RoleARN string
	// ExternalID is the external id that the role's trust policy asks for. It is an error without
	// RoleARN.
	ExternalID string
}

func setRegion(d *dataSource, v string) error {
	first, others := awsregion.Split(v)
	regions := append([]string{first}, others...)
	for i, region := range regions {
		if !awsregion.Valid(region) || slices.Contains(regions[:i], region) {
			return errors.New("it is neither the name of a region, such as us-west-2, nor a list of different regions separated by commas")
		}
		if meant := awsregion.Meant(region); meant != "" {
			return fmt.Errorf("AWS has no such region; did you mean %q?", meant)
		}
	}
	d.location.Region = v
	return nil
}

func setEndpoint(d *dataSource, v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		// The cause quotes the value.
		return errors.New("it is not a URL of the form https://host[:port]")
	}
	d.location.Endpoint = v
	return nil
}

// ARNs of roles, and external ids, as IAM and STS accept them. The setters check the lengths with
// len, because a regexp with {1,576} costs every program milliseconds to compile.
var (
	roleARN    = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+$`)
	externalID = regexp.MustCompile(`^[\w+=,.@:/-]+$`)
)

func setRoleARN(d *dataSource, v string) error {
	if len(v) > 2048 || !roleARN.MatchString(v) {
		return errors.New("it is not the ARN of a role, such as arn:aws:iam::123456789012:role/app")
	}
	d.location.RoleARN = v
	return nil
}

func setExternalID(d *dataSource, v string) error {
	if len(v) < 2 || len(v) > 1224 || !externalID.MatchString(v) {
		return errors.New(`it is not 2 to 1224 letters, digits and characters of "_+=,.@:/-"`)
	}
	d.location.ExternalID = v
	return nil
}

// checkLocation returns an error for a location that is not valid, or would have no effect.
func (o *Options) checkLocation(loc Location) error {
	if o.Secrets != nil && loc != (Location{}) {
		return badDSN(errors.New(`parameters "region", "endpoint", "source", "profile", "roleArn" and "externalId" have no effect on Options.Secrets: leave them out, or use Options.SecretsAt`))
	}
	if loc.ExternalID != "" && loc.RoleARN == "" {
		return badDSN(errors.New(`parameter "externalId" has no effect without "roleArn"`))
	}
	if o.Secrets == nil && o.CheckLocation != nil {
		if err := o.CheckLocation(loc); err != nil {
			return badDSN(err)
		}
	}
	return nil
}
