<?php
/**
 * One WordPress, many tenants: everything that differs comes from the tenant's settings file.
 */

require_once '/srv/atoll/tenant.php';

$atoll = atoll_settings(atoll_tenant());

define('DB_HOST', $atoll['database']['host'] . ':' . $atoll['database']['port']);
define('DB_NAME', $atoll['database']['name']);
define('DB_USER', $atoll['database']['user']);
define('DB_PASSWORD', $atoll['database']['password']);
define('DB_CHARSET', 'utf8mb4');
define('DB_COLLATE', '');
$table_prefix = 'wp_';

define('WP_HOME', atoll_address($atoll));
define('WP_SITEURL', WP_HOME);
if (str_starts_with(WP_HOME, 'https://')) {
    $_SERVER['HTTPS'] = 'on';
}

// Eight keys out of one secret: knowing one of them does not give another.
foreach (['AUTH_KEY', 'SECURE_AUTH_KEY', 'LOGGED_IN_KEY', 'NONCE_KEY', 'AUTH_SALT', 'SECURE_AUTH_SALT', 'LOGGED_IN_SALT', 'NONCE_SALT'] as $key) {
    define($key, hash_hmac('sha256', $key, $atoll['salt']));
}

// Two tenants never share a key of the cache, nor does a new tenant find what an old one of its name left: the schema's name is never used twice.
define('WP_CACHE_KEY_SALT', $atoll['database']['name']);

// The blueprint is the version: nothing is installed or updated from inside, and nothing can be, the image is read-only.
define('DISALLOW_FILE_MODS', true);
define('DISALLOW_FILE_EDIT', true);
define('AUTOMATIC_UPDATER_DISABLED', true);
define('WP_AUTO_UPDATE_CORE', false);
define('WP_POST_REVISIONS', 20);
define('WP_MEMORY_LIMIT', '96M');
define('WP_DEFAULT_THEME', 'twentytwentythree');
// A request to ourselves could not leave the cell; due work is done after an answer instead (mu-plugins/atoll.php).
define('DISABLE_WP_CRON', true);
define('WP_HTTP_BLOCK_EXTERNAL', true);
define('WP_DEBUG', false);

if (!defined('ABSPATH')) {
    define('ABSPATH', '/srv/wordpress/');
}
require_once ABSPATH . 'wp-settings.php';
