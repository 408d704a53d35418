# Elixir from Debian, with the PostgreSQL driver that Debian packages for Erlang.
BASE debian:bookworm
PROVISION RUN apt-get update && apt-get install -y --no-install-recommends elixir erlang-p1-pgsql && apt-get clean
PROVISION COPY node.exs start-node rpc /srv/
ENV LANG=C.UTF-8
CMD /srv/start-node
