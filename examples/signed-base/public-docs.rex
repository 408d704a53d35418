# A public web page on a base that somebody signed and any web server serves:
#
#     rexctl base create debian:bookworm -t debian12
#     rexctl base sign debian12 --cert alice.crt --key alice.key --out snapshots
#     python3 -m http.server -d snapshots --bind 127.0.0.1 8000 &
#     rexctl base trust alice.crt
#     rexctl apply public-docs.rex
BASE http://127.0.0.1:8000/debian12
PROVISION RUN apt-get update && apt-get install -y --no-install-recommends nginx-light && apt-get clean
PROVISION COPY site/ /var/www/html/
HOSTNAME docs.example.com
IP 10.98.7.10/24
SERVICE http PORT 80
CMD nginx -g "daemon off;"
