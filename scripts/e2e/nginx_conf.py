"""README's configuration of nginx as a whole file, for other ports and a directory of its own.

nginx_conf.py DIRECTORY PORT SERVER_PORT. Whatever is replaced must be there: the test is of what
README says.
"""

import re
import sys

directory, port, server_port = sys.argv[1:]
readme = open("README.md", encoding="utf-8").read()
(block,) = re.findall(r"^```nginx\n(.*?)^```$", readme, re.M | re.S)
for seen, wanted in [
    ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
    ("server 127.0.0.1:8080;", f"server 127.0.0.1:{server_port};"),
    ("/etc/ssl/push.crt", f"{directory}/push.crt"),
    ("/etc/ssl/push.key", f"{directory}/push.key"),
]:
    assert block.count(seen) == 1, seen
    block = block.replace(seen, wanted)
names = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
paths = "\n".join(f"{name}_temp_path {directory}/{name};" for name in names)
print(f"""daemon off;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ }}
http {{
access_log off;
{paths}
{block}}}""")
