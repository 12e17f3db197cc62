# Spooky in an image, with the native engine. Every step is a word of scripts/image, so that it can be run and tested without a container engine:
# `make image` makes an OCI archive of the same root folder.
#   docker build -t spooky .
# The base images are arguments: pin them by digest, RUST_IMAGE=rust:1.95-bookworm@sha256:... and NODE_IMAGE=node:26-bookworm-slim@sha256:...
# Both are Debian 12: what is built on its C library runs on it.
ARG RUST_IMAGE=rust:1.95-bookworm
ARG NODE_IMAGE=node:26-bookworm-slim

FROM ${RUST_IMAGE} AS native
WORKDIR /spooky
COPY scripts/image scripts/image
RUN scripts/image native-tools
# The dependencies alone first: BoringSSL takes minutes, and stays in this layer until a version changes.
COPY native/Cargo.toml native/Cargo.lock native/build.rs native/patched native/
COPY native/patches native/patches
RUN scripts/image native-dependencies
COPY native/src native/src
RUN scripts/image native

FROM ${NODE_IMAGE} AS build
WORKDIR /spooky
COPY scripts/image scripts/image
COPY package.json package-lock.json .npmrc ./
RUN scripts/image dependencies
COPY tsconfig.json tsconfig.build.json ./
COPY src src
RUN scripts/image build

# The root folder of the image: a base of a few Debian packages, Node, and what runs. `make image` makes the same on a checkout.
FROM ${NODE_IMAGE} AS root
WORKDIR /spooky
COPY scripts/image scripts/image
RUN scripts/image root-tools
COPY package.json package-lock.json .npmrc ./
RUN scripts/image production-dependencies
COPY scripts/imageapp.mjs scripts/imageapp.mjs
COPY Makefile LICENSE ./
COPY --from=build /spooky/dist dist
COPY --from=native /spooky/native/spooky-quic.node native/spooky-quic.node
RUN make image-root IMAGE_ROOT=/image

FROM scratch
COPY --from=root /image /
LABEL org.opencontainers.image.title="Spooky" org.opencontainers.image.description="HTTP/3 ingress controller for Kubernetes" org.opencontainers.image.licenses="Apache-2.0"
# The engine as a variable, so that it holds whatever the arguments are; `--engine` still has the last word.
ENV PATH=/usr/local/bin SPOOKY_ENGINE=native
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/spooky"]
CMD ["serve"]
