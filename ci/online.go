package main

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/cachix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/dagger"
	"github.com/scopecreep-zip/open-sesame-ci/internal/online"
	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
)

// onlineOptions are those of doctor --online.
type onlineOptions struct {
	given, json bool
	publish     publishOptions
	image       dagger.Image
}

func (o *onlineOptions) register(c *cobra.Command) {
	s := c.Flags()
	s.BoolVar(&o.given, "online", false, "compare what this program assumes of Cachix and the image's registry with their answers; changes nothing")
	s.BoolVar(&o.json, "json", false, "with --online: JSON on standard output")
	o.publish.registerCache(c)
	s.Var(valueOf(&o.image, dagger.DefaultImage, dagger.ParseImage), "image", "with --online: the image to ask its registry for")
}

// runOnline prints what the cache and the registry show of each assumption.
func runOnline(ctx context.Context, process process, o onlineOptions) error {
	name := o.publish.cacheName(defaultProject)
	o.publish.secret = cmp.Or(o.publish.secret, defaultProject.SecretEnv)
	credential, err := process.credential(o.publish, name, false)
	if err != nil {
		return err
	}
	client, err := cachix.New(name, cachix.Options{URL: o.publish.url, Credential: credential, Agent: toolName + "/" + version, Attempts: 2})
	if err != nil {
		return usage(err)
	}
	defer client.Close()
	image := o.image.String()
	if !strings.Contains(image, "@sha256:") {
		image = ""
	}
	results := online.Check(ctx, online.Options{
		Client: client, HasToken: credential.HasToken(), Image: image, Limit: online.Limit,
	})
	if o.json {
		err = report.WriteJSON(process.stdout, results)
	} else {
		err = printOnline(process, results)
	}
	return errors.Join(err, online.Err(results))
}

func printOnline(process process, results []online.Result) error {
	t := newTable(process.stdout)
	for _, r := range results {
		t.row(r.State, r.ID, r.Assumption)
		if r.Detail != "" {
			t.row("", "", r.Detail)
		}
	}
	return t.Flush()
}
