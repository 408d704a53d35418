# A service for other jails only: they find it by DNS, as
# _renderer._tcp.internal-renderer.DOMAIN (SRV) and renderer.internal-renderer.DOMAIN (A).
BASE http://127.0.0.1:8000/debian12
PROVISION RUN apt-get update && apt-get install -y --no-install-recommends python3-minimal libpython3-stdlib && apt-get clean
PROVISION COPY site/ /srv/
SERVICE renderer PORT 1234
CMD python3 -m http.server --directory /srv 1234
