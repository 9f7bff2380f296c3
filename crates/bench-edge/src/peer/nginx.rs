//! nginx 1.22 of Debian with its Lua module: tenants in a shared dictionary.

use std::net::SocketAddr;

use anyhow::Result;

use super::{Doors, Place, Running, program};
use crate::certificate::SUITES;
use crate::world::{self, FIELD};

/// Starts one worker of it.
pub fn start(place: &Place<'_>, at: Doors, upstream: SocketAddr) -> Result<Running> {
    let map = place.folder.join("domains.map");
    world::map(&map, place.domains)?;
    let folder = place.folder.display();
    let map = map.display();
    let secure = at.secure.map(|at| format!("listen {at} ssl http2 backlog=4096;")).unwrap_or_default();
    let (plain, chain, key) = (at.plain, place.certificate.chain.display(), place.certificate.key.display());
    let text = format!(
        r#"daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log stderr warn;
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
events {{ worker_connections 8000; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  lua_package_path "/usr/share/lua/5.1/?.lua;;";
  lua_shared_dict tenants 64m;
  init_by_lua_block {{
    for line in io.lines("{map}") do
      local domain, tenant = line:match("^(%S+) (%S+)$")
      ngx.shared.tenants:set(domain, tenant)
    end
  }}
  map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
  upstream gates {{ server {upstream}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen {plain} backlog=4096;
    {secure}
    ssl_certificate {chain};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_conf_command Ciphersuites {SUITES};
    ssl_prefer_server_ciphers on;
    ssl_ecdh_curve X25519:prime256v1;
    ssl_session_cache shared:visitors:10m;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    location / {{
      set $tenant "";
      access_by_lua_block {{
        local tenant = ngx.shared.tenants:get(ngx.var.host)
        if not tenant then return ngx.exit(404) end
        ngx.var.tenant = tenant
      }}
      proxy_pass http://gates;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_buffer_size 16k;
      proxy_buffers 8 16k;
      proxy_busy_buffers_size 32k;
      proxy_max_temp_file_size 0;
      proxy_read_timeout 1h;
      proxy_set_header Host $host;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $host;
      proxy_set_header X-Request-Id $request_id;
      proxy_set_header {FIELD} $tenant;
    }}
  }}
}}
"#
    );
    let file = place.folder.join("nginx.conf");
    fs_err::write(&file, text)?;
    let arguments = ["-p", &folder.to_string(), "-c", &file.display().to_string()].map(str::to_owned);
    place.spawn(&program("nginx", "nginx libnginx-mod-http-lua")?, &arguments)
}
