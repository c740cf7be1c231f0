/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * See metrics_server.h.  One request for each connection, which is closed after the answer.  Each
 * scrape asks tcmu-runner anew, over a connection of its own, so nothing is ever stale, and a bus
 * that was away is found again.
 */
#include "metrics_server.h"

#include <errno.h>
#include <string.h>

#include <glib-unix.h>

#include "cli.h"
#include "openmetrics.h"

#define REQUEST_BYTES	 4096
#define PATIENCE_SECONDS 5
#define AT_ONCE		 4

static void answer(GOutputStream *out, const char *status, const char *type, const char *body)
{
	g_autofree char *text =
		g_strdup_printf("HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: "
				"%zu\r\nConnection: close\r\n\r\n%s",
				status, type, strlen(body), body);

	/* Whoever is gone gets no answer. */
	g_output_stream_write_all(out, text, strlen(text), NULL, NULL, NULL);
}

/* The request's first line, and nothing of the rest.  False: there was none, or it is too long. */
static bool read_request(GInputStream *in, char *text)
{
	size_t used = 0;
	gssize got;

	while (used < REQUEST_BYTES - 1) {
		got = g_input_stream_read(in, text + used, REQUEST_BYTES - 1 - used, NULL, NULL);
		if (got <= 0)
			return false;
		used += (size_t)got;
		text[used] = '\0';
		if (strstr(text, "\r\n\r\n") || strstr(text, "\n\n"))
			return true;
	}
	return false;
}

static gboolean serve(GThreadedSocketService *service, GSocketConnection *connection,
		      GObject *source, gpointer data)
{
	GIOStream *stream = G_IO_STREAM(connection);
	GOutputStream *out = g_io_stream_get_output_stream(stream);
	g_autoptr(GDBusConnection) bus = NULL;
	g_autoptr(GPtrArray) luns = NULL;
	g_autofree char *text = NULL;
	struct ti_error error = { 0 };
	char request[REQUEST_BYTES];

	(void)service;
	(void)source;
	(void)data;
	g_socket_set_timeout(g_socket_connection_get_socket(connection), PATIENCE_SECONDS);
	if (!read_request(g_io_stream_get_input_stream(stream), request))
		return TRUE;
	if (strncmp(request, "GET ", 4) != 0) {
		answer(out, "405 Method Not Allowed", "text/plain", "only GET is served\n");
	} else if (strncmp(request + 4, "/metrics ", 9) != 0 &&
		   strncmp(request + 4, "/metrics?", 9) != 0) {
		answer(out, "404 Not Found", "text/plain", "metrics are at /metrics\n");
	} else {
		if (bus_connect(&bus, &error) || bus_luns(bus, &luns, &error))
			cli_complain_error(&error);
		text = openmetrics_text(luns);
		answer(out, "200 OK", OPENMETRICS_TYPE, text);
	}
	return TRUE;
}

static gboolean stop(gpointer loop)
{
	g_main_loop_quit(loop);
	return G_SOURCE_CONTINUE;
}

/* The address of the loopback interface, in both families; one is enough. */
static bool listen_at(GSocketListener *listener, GSocketFamily family, uint16_t port,
		      GSocketAddress **bound, GError **why)
{
	g_autoptr(GInetAddress) loopback = g_inet_address_new_loopback(family);
	g_autoptr(GSocketAddress) address = g_inet_socket_address_new(loopback, port);

	return g_socket_listener_add_address(listener, address, G_SOCKET_TYPE_STREAM,
					     G_SOCKET_PROTOCOL_TCP, NULL, bound, why);
}

int metrics_serve(uint16_t port, struct ti_error *error)
{
	g_autoptr(GSocketService) service = g_threaded_socket_service_new(AT_ONCE);
	g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
	g_autoptr(GSocketAddress) bound = NULL;
	g_autoptr(GError) why = NULL;

	if (!listen_at(G_SOCKET_LISTENER(service), G_SOCKET_FAMILY_IPV4, port, &bound, &why))
		return ti_error_set(error, -EADDRINUSE,
				    "port %u of the loopback interface cannot be listened at: %s",
				    port, why->message);
	port = g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(bound));
	/* A machine without IPv6 is no failure. */
	listen_at(G_SOCKET_LISTENER(service), G_SOCKET_FAMILY_IPV6, port, NULL, NULL);
	g_signal_connect(service, "run", G_CALLBACK(serve), NULL);
	g_unix_signal_add(SIGINT, stop, loop);
	g_unix_signal_add(SIGTERM, stop, loop);
	cli_complain("listening at http://127.0.0.1:%u/metrics", port);
	g_main_loop_run(loop);
	g_socket_service_stop(service);
	return 0;
}
