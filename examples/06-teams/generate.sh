#!/bin/sh
# Writes the routes of three teams: 500 of them, as a company has them after some years. Run it in this folder.
set -eu
team() { # NAME COUNT HOST
  mkdir -p "teams/$1"
  {
    echo "# Made by generate.sh."
    echo "upstreams:"
    echo "  $1: { endpoints: [{ url: \"http://127.0.0.1:9000\" }], retries: {} }"
    echo "chains:"
    echo "  $1: [{ use: headers, config: { request: { set: { x-team: $1 } } } }]"
  } > "teams/$1/upstreams.yaml"
  awk -v team="$1" -v count="$2" -v host="$3" 'BEGIN {
    print "# Made by generate.sh."
    print "routes:"
    for (i = 1; i <= count; i++) {
      printf "  - { name: %s-%03d, match: { hosts: [%s], path: { template: \"/%s/v%d/item-%03d/{id}\" } }, ", team, i, host, team, i % 3 + 1, i
      if (i % 10 == 0) printf "respond: { status: 410, body: \"gone\\n\" } }\n"
      else if (i % 4 == 0) printf "filters: [{ chain: %s }, { chain: public }], upstream: %s, timeout: 5s }\n", team, team
      else printf "upstream: %s }\n", team
    }
  }' > "teams/$1/routes.yaml"
}
team catalog 200 shop.example.com
team orders 180 shop.example.com
team accounts 120 accounts.example.com
