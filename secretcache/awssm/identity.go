package awssm

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

const opIdentity = "GetCallerIdentity"

// An Identity says which user or role a [Source] uses to ask for a secret, and in which region.
// It holds no credentials.
type Identity struct {
	Region      string // the region that is asked first; empty if it is not known
	Credentials string // where the credentials are from, such as "environment variables"; empty if there are none
	ARN         string // of the user or the role; empty if AWS STS did not tell
}

// Identity returns the identity that Fetch would use for the secret. It is for tools that
// say why a fetch fails. It asks AWS STS for the ARN (GetCallerIdentity): Fetch does not
// make that call. If the call fails, the error says why, and the identity has the other fields.
// With Options.Client, Identity returns an error.
//
// Errors are [*Error].
func (s *Source) Identity(ctx context.Context, id string) (Identity, error) {
	var who Identity
	rt, f := s.route(ctx, id)
	if who.Region = rt.region; f != nil || rt.cfg == nil {
		if f == nil {
			f = &failure{class: local, cause: &cause{text: "Options.Client has an identity of its own"}}
		}
		return who, f.in(s, opIdentity, id, rt.region)
	}
	creds := newCredentials(rt.cfg.Credentials)
	value, err := creds.Retrieve(ctx)
	if err != nil {
		return who, (&failure{class: local, cause: cleanLocal(err)}).in(s, opIdentity, "", rt.region)
	}
	who.Credentials = value.Source
	if named, ok := creds.(*credentials); ok {
		who.Credentials = named.from
	}
	client := sts.NewFromConfig(*rt.cfg, func(o *sts.Options) {
		o.Region, o.Retryer, o.RetryMaxAttempts = rt.region, aws.NopRetryer{}, 0
		if o.BaseEndpoint != nil { // as in newRegional
			o.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateUnset
			o.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateUnset
		}
	})
	out, err := client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return who, (&failure{class: negative, cause: clean(err, false)}).in(s, opIdentity, "", rt.region)
	}
	who.ARN = str(out.Arn)
	return who, nil
}
