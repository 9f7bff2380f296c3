//! The images of `blueprints/wordpress` by themselves: what they promise to the rest of the platform, tried with one database node and no gates.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "wordpress/world.rs"]
mod world;

use serde_json::{Value, json};
use world::{Request, World};

/// The smallest picture that WordPress takes: one pixel.
const PIXEL: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cc\xa8\x07\0\0\x81\0\x80\xd3\x94SJ\0\0\0\0IEND\xaeB`\x82";

#[test]
fn a_site_is_created_used_and_seen_by_nobody_else() {
    let world = World::start(&["alpha", "bravo"]);
    assert!(world.create("alpha").contains("installed for user admin"));
    assert!(world.create("alpha").contains("already installed"), "a hook that is run again leaves a whole site alone");
    world.create("bravo");
    world.serve();

    let mut alpha = world.visitor("alpha");
    assert!(alpha.get("/").ok().text().contains("Title of alpha"));
    alpha.log_in();
    let nonce = alpha.get("/wp-admin/admin-ajax.php?action=rest-nonce").ok().text();
    let picture = Request::post("/index.php?rest_route=/wp/v2/media", PIXEL)
        .header("X-WP-Nonce", &nonce)
        .header("Content-Type", "image/png")
        .header("Content-Disposition", "attachment; filename=\"pixel.png\"");
    let media: Value = serde_json::from_slice(&alpha.send(&picture).is(201).body).unwrap();
    let address = media["source_url"].as_str().unwrap();
    let path = address.strip_prefix("http://alpha.localhost:8080").unwrap();
    assert_eq!(alpha.get(path).ok().body, PIXEL);

    let post = json!({ "title": "Seen by alpha", "content": format!("<img src='{address}'>"), "status": "publish" }).to_string();
    let post =
        Request::post("/index.php?rest_route=/wp/v2/posts", post.as_bytes()).header("X-WP-Nonce", &nonce).header("Content-Type", "application/json");
    let post: Value = serde_json::from_slice(&alpha.send(&post).is(201).body).unwrap();
    let link = post["link"].as_str().unwrap().strip_prefix("http://alpha.localhost:8080").unwrap();
    assert!(world.visitor("alpha").get(link).ok().text().contains("Seen by alpha"));

    let mut bravo = world.visitor("bravo");
    assert!(!bravo.get("/index.php?rest_route=/wp/v2/posts").ok().text().contains("Seen by alpha"));
    bravo.get(link).is(404);
    bravo.get(path).is(404);
}

#[test]
fn what_is_not_for_visitors_is_not_given() {
    let world = World::start(&["alpha"]);
    world.create("alpha");
    world.write("files/alpha/uploads/shell.php", "<?php echo 'ran';");
    world.write("files/alpha/uploads/page.html", "<script>1</script>");
    world.serve();
    let mut alpha = world.visitor("alpha");
    for path in ["/wp-config.php", "/wp-content/db.php", "/wp-includes/version.php", "/wp-content/uploads/shell.php", "/.atoll/php", "/.git/config"] {
        alpha.get(path).is(404);
    }
    let page = alpha.get("/wp-content/uploads/page.html").ok();
    assert!(page.header("content-security-policy").is_some_and(|policy| policy.contains("sandbox")), "an uploaded page must not run");
    assert_eq!(alpha.get("/wp-admin").is(301).header("location"), Some("/wp-admin/"));
    world.visitor("nobody").get("/").is(503);
    world.visitor("../alpha").get("/").is(421);
    let mut probe = world.visitor("");
    probe.get("/").is(421);
    probe.get("/.atoll/health").ok();
    assert_eq!(probe.get("/.atoll/php").ok().text(), "pong");
}

#[test]
fn a_half_made_site_is_made_anew() {
    let world = World::start(&["alpha"]);
    world.create("alpha");
    world.sql("USE t_alpha; CREATE TABLE atoll_installing (id INT PRIMARY KEY); DROP TABLE wp_users; UPDATE wp_options SET option_value = 'half' WHERE option_name = 'blogname';");
    let said = world.create("alpha");
    assert!(said.contains("half-way") && said.contains("installed for user admin"), "{said}");
    world.serve();
    let mut alpha = world.visitor("alpha");
    assert!(alpha.get("/").ok().text().contains("Title of alpha"));
    alpha.log_in();
}

#[test]
fn a_lost_write_is_not_repeated_a_lost_read_is() {
    let world = World::start(&["alpha"]);
    world.create("alpha");
    let job = world.script(
        "$wpdb->suppress_errors();
         $r = $wpdb->query(\"INSERT INTO wp_options (option_name, option_value) SELECT concat('x-', uuid()), sleep(60)\");
         echo 'write ', var_export($r, true), ' rows ', $wpdb->get_var(\"SELECT count(*) FROM wp_options WHERE option_name LIKE 'x-%'\"), PHP_EOL;
         echo 'read ', $wpdb->get_var(\"SELECT concat('whole ', sleep(if((SELECT count(*) FROM wp_options WHERE option_name = 'lost') = 0, 60, 0)))\"), PHP_EOL;",
    );
    world.kill_statement("INSERT INTO wp_options");
    world.kill_statement_after("SELECT concat", "INSERT INTO t_alpha.wp_options (option_name, option_value) VALUES ('lost', '1');");
    let said = job.wait();
    assert!(said.contains("write false rows 0"), "{said}");
    assert!(said.contains("read whole 0"), "{said}");
}

#[test]
fn pages_are_served_while_the_cache_is_away_and_nothing_old_afterwards() {
    let world = World::start(&["alpha"]);
    world.create("alpha");
    world.serve();
    let mut alpha = world.visitor("alpha");
    assert!(alpha.get("/").ok().text().contains("Title of alpha"));
    world.docker(&["pause", &world.name("cache")]);
    assert!(alpha.get("/").ok().text().contains("Title of alpha"), "served without the cache");
    alpha.log_in();
    let nonce = alpha.get("/wp-admin/admin-ajax.php?action=rest-nonce").ok().text();
    let renamed = json!({ "title": "Another title" }).to_string();
    let rename = Request::post("/index.php?rest_route=/wp/v2/settings", renamed.as_bytes());
    alpha.send(&rename.header("X-WP-Nonce", &nonce).header("Content-Type", "application/json")).ok();
    world.docker(&["unpause", &world.name("cache")]);
    assert!(alpha.get("/").ok().text().contains("Another title"), "the cache holds the old title, and it is used");
}
