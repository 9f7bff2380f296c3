<?php
/**
 * Plugin Name: Atoll
 * Description: Fits WordPress into a cell: where files go, no way out, no updates from inside, mail off or to the platform's relay, due work after an answer.
 */

// Files: one folder a tenant, outside the image. Addresses of pictures stay WordPress's own.
add_filter('pre_option_upload_path', fn () => '/atoll/files/' . $GLOBALS['atoll']['tenant'] . '/uploads');
add_filter('pre_option_upload_url_path', fn () => WP_CONTENT_URL . '/uploads');

// A cell has no way out. Said at once, not after a time-out.
add_filter('pre_http_request', fn ($answer, $arguments, $url) => new WP_Error('http_request_block', "The cell has no way to $url."), 10, 3);

// The blueprint is the version: no checks, no notices.
foreach (['update_core', 'update_plugins', 'update_themes'] as $atoll_kind) {
    add_filter("pre_site_transient_$atoll_kind", fn () => (object) ['last_checked' => time(), 'version_checked' => $GLOBALS['wp_version'], 'updates' => [], 'response' => [], 'translations' => []]);
}
foreach (['wp_version_check', 'wp_update_plugins', 'wp_update_themes', 'wp_maybe_auto_update'] as $atoll_hook) {
    remove_all_actions($atoll_hook);
}
add_action('init', function () {
    remove_action('init', 'wp_schedule_update_checks');
}, 1);
add_filter('site_status_tests', function (array $tests): array {
    foreach (['background_updates', 'loopback_requests', 'dotorg_communication', 'https_status', 'authorization_header', 'page_cache'] as $test) {
        unset($tests['async'][$test], $tests['direct'][$test]);
    }
    return $tests;
});

// Mail: off, which callers are told, unless the platform names a relay.
if (empty($GLOBALS['atoll']['mail'])) {
    add_filter('pre_wp_mail', function () {
        wp_installing() || error_log('atoll: a mail was not sent: the platform has no relay (Platform, spec.mail)');
        return false;
    });
} else {
    add_filter('wp_mail_from', fn ($from) => str_starts_with($from, 'wordpress@') ? $GLOBALS['atoll']['mail']['from'] : $from);
    add_action('phpmailer_init', function ($mailer) {
        $mailer->isSMTP();
        $mailer->Host = $GLOBALS['atoll']['mail']['host'];
        $mailer->Port = $GLOBALS['atoll']['mail']['port'];
        $mailer->SMTPAuth = false;
        // A gate passes the octets on; the certificate is the relay's.
        $mailer->SMTPOptions = ['ssl' => ['peer_name' => $GLOBALS['atoll']['mail']['server']]];
        $mailer->Timeout = 10;
    });
}

// Due work is done after the visitor has the answer, by the process that gave it.
add_action('shutdown', function () {
    $answered = function_exists('fastcgi_finish_request') && ($_SERVER['REQUEST_METHOD'] ?? '') === 'GET';
    if (!$answered || defined('DOING_CRON') || defined('DOING_AJAX') || wp_installing()) {
        return;
    }
    // WordPress's own lock is read and then written, which lets several in at once; adding to the cache lets in one a minute.
    if (!wp_get_ready_cron_jobs() || !wp_cache_add('due-work', 1, 'atoll', MINUTE_IN_SECONDS)) {
        return;
    }
    require ABSPATH . 'wp-cron.php';
}, PHP_INT_MAX);
