// Package build runs the steps of an image: base, RUN, COPY, ENV, each a cached layer of the store.
//
// Laws:
//
//   - A step whose layer exists is not run again; the layer's key is the digest of its inputs, made by package spec.
//   - RUN happens in a jail: own namespaces, own id range, limited capabilities, a network that ends with the step.
//   - What is only there for building (resolv.conf, policy-rc.d) is mounted, never committed.
//   - A step that fails, times out or is killed leaves nothing half-made.
//   - One key is built once at a time on this host, whoever asks; the others wait for it and share the result.
//
// Flow: Build looks for the image, then for the highest step whose layer is there, makes the base if it must, and takes
// the rest step by step: BeginStep, run, Commit. Then it names the top layer as the image.
package build
