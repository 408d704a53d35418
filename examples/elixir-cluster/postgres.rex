# PostgreSQL from Debian; its data is a volume that outlives the jail.
BASE debian:bookworm
PROVISION RUN apt-get update && apt-get install -y --no-install-recommends postgresql && apt-get clean
PROVISION COPY start-postgres /usr/local/bin/start-postgres
CMD /usr/local/bin/start-postgres
