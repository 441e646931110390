# The mail service. The builder has the C toolchain, make and Perl that librdkafka and OpenSSL need;
# the runtime has glibc, authorities' certificates and a user that is not root, and no shell.
FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin mailjob \
    && cp target/release/mailjob /mailjob

FROM gcr.io/distroless/cc-debian12:nonroot
WORKDIR /app
COPY .env.topics .
COPY --from=build /mailjob /usr/local/bin/mailjob
# Reaches Kafka and the mail server, and asks for the topics.
HEALTHCHECK --interval=60s --timeout=30s --start-period=60s --start-interval=5s \
    CMD ["/usr/local/bin/mailjob", "check"]
ENTRYPOINT ["/usr/local/bin/mailjob"]
CMD ["run"]
