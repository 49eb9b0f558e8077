# albs in one image: every role but node and tester works in any container; those
# two need a container that may make user namespaces, with subordinate ids.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /albs .

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends \
        ca-certificates git rpm gpgv dnf bubblewrap uidmap elfutils debugedit dwz file && \
    rm -rf /var/lib/apt/lists/* && \
    useradd --create-home --add-subids-for-system albs
COPY --from=build /albs /usr/bin/albs
USER albs
VOLUME /var/lib/albs
EXPOSE 8080
ENTRYPOINT ["albs"]
CMD ["serve", "--role=all", "--data", "/var/lib/albs", "--listen", "0.0.0.0:8080"]
