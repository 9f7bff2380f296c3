<?php
/**
 * Hook `create`: installs the tenant's site: tables, title, administrator, language, permalinks.
 *
 * Repeatable: a site that is whole is left alone; a half-made one, which a table of our own marks, is made anew. The mark is set before anything
 * else is written and goes last, so that a site without it is never touched, whoever made it.
 */

declare(strict_types=1);

require '/srv/atoll/job.php';
require '/srv/atoll/tenant.php';

const MARK = 'atoll_installing';

$parameters = job_parameters();
$settings = atoll_settings(ATOLL_TENANT);
job_request($settings);
define('WP_INSTALLING', true);
require '/srv/wordpress/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/upgrade.php';
require_once ABSPATH . 'wp-admin/includes/translation-install.php';

/** Language tag (cs-CZ, de) to the installed locale that is nearest; WordPress's own English, which has no name, where there is none. */
function nearest_locale(string $tag): string
{
    $wanted = str_replace('-', '_', $tag);
    if (in_array($wanted, ['', 'en', 'en_US'], true)) {
        return '';
    }
    $installed = get_available_languages();
    if (in_array($wanted, $installed, true)) {
        return $wanted;
    }
    $language = strtolower(strtok($wanted, '_'));
    $same = array_values(array_filter($installed, fn ($locale) => strtolower(strtok($locale, '_')) === $language));
    sort($same);
    $usual = $language . '_' . strtoupper($language);
    return in_array($usual, $same, true) ? $usual : ($same[0] ?? '');
}

/** Removes what an unfinished attempt of ours left: the tables of this schema, which is the tenant's alone. */
function remove_half_made(wpdb $wpdb): void
{
    foreach ($wpdb->get_col("SHOW TABLES LIKE '{$wpdb->prefix}%'") as $table) {
        $wpdb->query('DROP TABLE `' . str_replace('`', '', $table) . '`');
    }
    wp_cache_flush();
}

function prepare_files(string $tenant): void
{
    $folder = "/atoll/files/$tenant/uploads";
    if (!is_dir($folder) && !@mkdir($folder, 0755, true)) {
        job_fail("the folder for files cannot be made: $folder (owner must be uid " . posix_geteuid() . ')');
    }
}

$marked = $wpdb->get_var("SHOW TABLES LIKE '" . MARK . "'") === MARK;
$wpdb->suppress_errors();
if (!$marked && is_blog_installed()) {
    job_say('already installed');
    exit(0);
}
$wpdb->suppress_errors(false);
$password = $parameters['adminPassword'] ?? '';
if (!is_string($password) || strlen($password) < 12) {
    job_fail('the parameters hold no adminPassword of at least 12 characters');
}
prepare_files(ATOLL_TENANT);
if ($marked) {
    job_say('an earlier attempt ended half-way: beginning anew');
    remove_half_made($wpdb);
} elseif ($wpdb->query('CREATE TABLE ' . MARK . ' (id INT PRIMARY KEY) ENGINE=InnoDB') === false) {
    job_fail('the database refused the first table: ' . $wpdb->last_error);
}

$locale = nearest_locale($parameters['language'] ?? $settings['language'] ?? 'en');
if ($locale !== '') {
    load_default_textdomain($locale);
    $GLOBALS['wp_locale'] = new WP_Locale();
}
$user = $parameters['adminUser'] ?? 'admin';
$done = wp_install($settings['title'] ?: ATOLL_TENANT, $user, $parameters['contact'] ?? $settings['contact'], true, '', wp_slash($password), $locale);
if (is_wp_error($done) || is_wp_error($done['user_id'] ?? null) || !is_blog_installed()) {
    job_fail('WordPress did not install: ' . (is_wp_error($done) ? $done->get_error_message() : $wpdb->last_error));
}
update_option('timezone_string', 'UTC');
$wp_rewrite->set_permalink_structure('/%year%/%monthnum%/%postname%/');
$wp_rewrite->flush_rules(false);
wp_cache_flush();
if ($wpdb->query('DROP TABLE ' . MARK) === false) {
    job_fail('the database refused the last step: ' . $wpdb->last_error);
}
job_say("installed for user $user" . ($locale === '' ? '' : " in $locale"));
