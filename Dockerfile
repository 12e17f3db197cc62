# Spooky in an image, with the native engine. Every step is a word of scripts/image, so that it can be run and tested without a container engine.
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

FROM ${NODE_IMAGE} AS layout
WORKDIR /spooky
COPY scripts/image scripts/image
COPY package.json package-lock.json .npmrc ./
RUN scripts/image production-dependencies
COPY LICENSE LICENSE
COPY bin bin
COPY --from=build /spooky/dist dist
COPY --from=native /spooky/native/spooky-quic.node native/spooky-quic.node
RUN scripts/image layout /opt/spooky

FROM ${NODE_IMAGE}
COPY --from=layout /opt/spooky /opt/spooky
# A variable, so that it holds whatever the arguments are; `--engine` still has the last word.
ENV SPOOKY_ENGINE=native
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/spooky/bin/spooky"]
CMD ["serve"]
