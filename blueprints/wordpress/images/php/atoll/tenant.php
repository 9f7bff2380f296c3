<?php
/**
 * Whose request is this? Loaded by wp-config.php for requests, and by the hooks for jobs.
 *
 * The gate has verified the tenant and says its name in X-Atoll-Tenant; a client's own copy never gets that far. The settings are a file that
 * returns an array, rendered by Atoll from templates/settings.php.j2 and replaced atomically, so that a change is seen by the next request.
 */

declare(strict_types=1);

/** The tenant of this request or job; ends the request when there is none. */
function atoll_tenant(): string
{
    $name = defined('ATOLL_TENANT') ? ATOLL_TENANT : ($_SERVER['HTTP_X_ATOLL_TENANT'] ?? '');
    if (!is_string($name) || preg_match('/\A[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\z/', $name) !== 1) {
        atoll_refuse(421, 'the request names no tenant');
    }
    return $name;
}

/**
 * The tenant's settings.
 *
 * @return array<string, mixed>
 */
function atoll_settings(string $tenant): array
{
    $path = "/atoll/settings/$tenant/settings.php";
    if (!is_file($path)) {
        atoll_refuse(503, "the settings of $tenant are not there: $path");
    }
    $settings = require $path;
    if (!is_array($settings) || ($settings['tenant'] ?? null) !== $tenant) {
        atoll_refuse(503, "the settings of $tenant are not its own: $path");
    }
    return $settings;
}

/**
 * The address under which the site is asked for: the request's host where it is one of the tenant's domains, else the primary one.
 *
 * @param array<string, mixed> $settings
 */
function atoll_address(array $settings): string
{
    $primary = rtrim($settings['url'], '/');
    $host = strtolower(preg_replace('/:\d*\z/', '', $_SERVER['HTTP_HOST'] ?? ''));
    if (!in_array($host, $settings['domains'], true)) {
        return $primary;
    }
    $port = parse_url($primary, PHP_URL_PORT);
    return parse_url($primary, PHP_URL_SCHEME) . '://' . $host . ($port ? ":$port" : '');
}

/** Ends the request (or job) with a status and a line in the log; a visitor learns nothing about the inside. */
function atoll_refuse(int $status, string $why): never
{
    error_log("atoll: $why");
    if (PHP_SAPI === 'cli') {
        fwrite(STDERR, "$why\n");
        exit(1);
    }
    http_response_code($status);
    header('Content-Type: text/plain; charset=utf-8');
    header('Cache-Control: no-store');
    header('Retry-After: 2');
    echo $status === 421 ? "Nothing is served under this name.\n" : "The site is not available at the moment. Please try again.\n";
    exit;
}
