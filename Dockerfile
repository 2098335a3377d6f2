# pgweir as an image: Node and one file, nothing else. No shell, no package manager, not root, a root that may be read-only.
#
#   docker build -t pgweir:0.1.0 .
#
# Both bases can be given by digest: --build-arg BUILD_IMAGE=… --build-arg RUNTIME_IMAGE=…

ARG BUILD_IMAGE=node:24-bookworm-slim
ARG RUNTIME_IMAGE=gcr.io/distroless/nodejs24-debian13:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /build
# The embedded PostgreSQL and Node of the tests are no part of the image, so no install script has to run.
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY bundle.ts tsconfig.json ./
COPY schemas schemas
COPY src src
RUN node bundle.ts /out/pgweir.mjs && node /out/pgweir.mjs version

FROM ${RUNTIME_IMAGE}
COPY --from=build /out/pgweir.mjs /app/pgweir.mjs
COPY LICENSE /app/LICENSE
USER 65532:65532
WORKDIR /app
# 6432 clients, 9090 probes and metrics. The admin API (9091) is on loopback.
EXPOSE 6432 9090
# The young generation need not be large: a relay's garbage dies at once, and what it is not given is not resident.
ENTRYPOINT ["/nodejs/bin/node", "--max-semi-space-size=2", "/app/pgweir.mjs"]
CMD ["serve", "/etc/pgweir/pgweir.yaml"]
