# The services. The builder has the C toolchain, make and Perl that librdkafka and OpenSSL need; the
# runtime has glibc, authorities' certificates and a user that is not root, and no shell. Nothing is
# written to the root file system: run it read-only.
#
#   docker build --target mailjob .    the mail service, also without --target
#   docker build --target webhook .    the webhook service
#   docker build --target pizza .      the pizza shop; its orders are in /data, a volume
FROM rust:1.95.0-bookworm AS source
WORKDIR /src
COPY . .

FROM source AS build-mailjob
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --profile dist -p mailjob \
    && cp target/dist/mailjob /mailjob

FROM source AS build-webhook
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --profile dist -p webhook \
    && cp target/dist/webhook /webhook

FROM source AS build-pizza
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --profile dist -p pizza \
    && cp target/dist/pizza /pizza \
    && mkdir /data

FROM gcr.io/distroless/cc-debian12:nonroot AS pizza
WORKDIR /data
COPY --from=build-pizza --chown=nonroot:nonroot /data /data
COPY --from=build-pizza /pizza /usr/local/bin/pizza
VOLUME /data
ENTRYPOINT ["/usr/local/bin/pizza"]
CMD ["all"]

FROM gcr.io/distroless/cc-debian12:nonroot AS webhook
WORKDIR /app
COPY --from=build-webhook /webhook /usr/local/bin/webhook
# Where metrics and health are served, and the next line asks; set it, or METRICS_ADDRESS, to another.
ENV METRICS_PORT=8083
HEALTHCHECK --interval=10s --timeout=15s --start-period=60s --start-interval=1s --retries=6 \
    CMD ["/usr/local/bin/webhook", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/webhook"]
CMD ["run"]

FROM gcr.io/distroless/cc-debian12:nonroot AS mailjob
WORKDIR /app
COPY .env.topics .
COPY --from=build-mailjob /mailjob /usr/local/bin/mailjob
# Where metrics and health are told, and the next line asks; set it, or METRICS_ADDRESS, to another.
ENV EMAIL_SERVICE_PORT=8082
HEALTHCHECK --interval=10s --timeout=15s --start-period=60s --start-interval=1s --retries=6 \
    CMD ["/usr/local/bin/mailjob", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/mailjob"]
CMD ["run"]
