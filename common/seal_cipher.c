/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The ciphers of a journal.
 *
 * EVP keeps a cipher's key in memory of its own, which swap and core dumps may get.  So it is used
 * only where it can go at once: for a stream, whose key stream is made at open.  The block ciphers
 * work with libcrypto's AES_KEY, which lies where we say, and whose functions OpenSSL calls
 * deprecated; they allocate nothing either.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "seal_cipher.h"

#include <errno.h>
#include <string.h>

#include <openssl/aes.h>
#include <openssl/evp.h>

#include "le.h"
#include "seal.h"

/* dm-integrity: the key stream is made in pages of the machine's, and what makes the commit ids
 * follows the last one.  With other pages than these the format is another one. */
#define PAGE_BYTES 4096U

struct schedules {
	AES_KEY encrypt, decrypt;
};

static const struct name {
	const char *kernel, *setup;
	enum ti_seal_kind kind;
} names[] = {
	{ "ctr(aes)", "ctr-aes", TI_SEAL_CTR },
	{ "chacha20", "chacha20", TI_SEAL_CHACHA20 },
	{ "cbc(aes)", "cbc-aes", TI_SEAL_CBC },
	{ "ecb(aes)", "ecb-aes", TI_SEAL_ECB },
};

static const struct name *find(const char *text)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(text, names[i].kernel) || !strcmp(text, names[i].setup))
			return &names[i];
	return NULL;
}

bool ti_seal_cipher_is_known(const char *text)
{
	return find(text) != NULL;
}

const char *ti_seal_cipher_name(const char *text)
{
	return find(text)->kernel;
}

static bool is_stream(const struct ti_seal_cipher *c)
{
	return c->kind == TI_SEAL_CTR || c->kind == TI_SEAL_CHACHA20;
}

static int check_key(const struct name *name, const struct ti_secret *key, struct ti_error *error)
{
	if (!key)
		return ti_error_set(error, -ENOKEY,
				    "journal_crypt %s needs a key, and none was given",
				    name->kernel);
	if (name->kind == TI_SEAL_CHACHA20 && key->len != 32)
		return ti_error_set(error, -EINVAL,
				    "the key of chacha20 has 32 bytes, and %zu were given",
				    key->len);
	if (key->len != 16 && key->len != 24 && key->len != 32)
		return ti_error_set(error, -EINVAL,
				    "a key of %s has 16, 24 or 32 bytes, and %zu were given",
				    name->kernel, key->len);
	return 0;
}

static int open_aes(struct ti_seal_cipher *c, const struct ti_secret *key)
{
	struct schedules *s;
	int err = ti_secret_alloc(sizeof(*s), &c->aes);

	if (err)
		return err;
	s = (struct schedules *)(void *)c->aes->bytes;
	if (AES_set_encrypt_key(key->bytes, (int)key->len * 8, &s->encrypt) ||
	    AES_set_decrypt_key(key->bytes, (int)key->len * 8, &s->decrypt))
		return -EINVAL;
	return 0;
}

int ti_seal_cipher_open(struct ti_seal_cipher *c, const char *text, const struct ti_secret *key,
			struct ti_error *error)
{
	const struct name *name = find(text);
	int err;

	if (!name)
		return ti_error_set(error, -EOPNOTSUPP,
				    "the cipher '%s' of journal_crypt is not "
				    "known; " TI_SEAL_CIPHER_NAMES " are",
				    text);
	err = check_key(name, key, error);
	if (err)
		return err;
	c->kind = name->kind;
	err = is_stream(c) ? ti_secret_copy(key, &c->key) : open_aes(c, key);
	ti_secret_wipe_stack();
	return err ? ti_error_set(error, err, "there is no memory for the key of journal_crypt")
		   : 0;
}

void ti_seal_cipher_close(struct ti_seal_cipher *c)
{
	ti_secret_free(c->key);
	ti_secret_free(c->stream);
	ti_secret_free(c->aes);
	*c = (struct ti_seal_cipher){ .kind = TI_SEAL_PLAIN };
}

static const EVP_CIPHER *stream_of(const struct ti_seal_cipher *c)
{
	if (c->kind == TI_SEAL_CHACHA20)
		return EVP_chacha20();
	return c->key->len == 16   ? EVP_aes_128_ctr()
	       : c->key->len == 24 ? EVP_aes_192_ctr()
				   : EVP_aes_256_ctr();
}

/* dm-integrity: zeros encrypted with an IV of zeros. */
static int make_stream(struct ti_seal_cipher *c, size_t bytes)
{
	static const uint8_t iv[16];
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int err = ctx ? ti_secret_alloc(bytes, &c->stream) : -ENOMEM;

	if (!err && EVP_EncryptInit_ex(ctx, stream_of(c), NULL, c->key->bytes, iv) != 1)
		err = -EOPNOTSUPP;
	for (size_t at = 0; !err && at < bytes;) {
		size_t left = bytes - at;
		int len = left < (1U << 20) ? (int)left : 1 << 20, made;

		if (EVP_EncryptUpdate(ctx, c->stream->bytes + at, &made, c->stream->bytes + at,
				      len) != 1 ||
		    made != len)
			err = -EOPNOTSUPP;
		at += (size_t)len;
	}
	EVP_CIPHER_CTX_free(ctx); /* wipes */
	return err;
}

/* dm-integrity: none of the four may be equal to another one. */
static void change_ids(struct ti_journal_ids *ids, const uint8_t *stream)
{
	for (unsigned k = 0; k < TI_JOURNAL_SEQS; k++) {
		struct ti_le64 mask;

		memcpy(&mask, stream + k * sizeof(mask), sizeof(mask));
		ids->id[k] ^= ti_le64_get(&mask);
		for (unsigned before = 0; before < k; before++)
			if (ids->id[k] == ids->id[before]) {
				ids->id[k]++;
				before = UINT32_MAX; /* from the first one again */
			}
	}
}

int ti_seal_cipher_start(struct ti_seal_cipher *c, const struct ti_geometry *geo,
			 struct ti_journal_ids *ids, struct ti_error *error)
{
	size_t pages = (geo->journal_bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
	int err;

	if (!is_stream(c))
		return 0;
	err = make_stream(c, pages + TI_JOURNAL_SEQS * sizeof(struct ti_le64));
	ti_secret_wipe_stack(); /* some of libcrypto's ChaCha20 leave the whole key there */
	ti_secret_free(c->key);
	c->key = NULL;
	if (err)
		return ti_error_set(error, err,
				    err == -ENOMEM
					    ? "there is no memory for the key stream of "
					      "journal_crypt, as long as the journal, or none that "
					      "may be locked"
					    : "this host's library refuses the cipher of "
					      "journal_crypt");
	change_ids(ids, c->stream->bytes + pages);
	return 0;
}

static void apply_stream(const uint8_t *stream, const uint8_t *in, uint8_t *out, size_t len)
{
	for (size_t at = 0; at < len; at++)
		out[at] = in[at] ^ stream[at];
}

void ti_seal_cipher_run(const struct ti_seal_cipher *c, const struct ti_geometry *geo, uint32_t i,
			bool encrypt, const uint8_t *in, uint8_t *out)
{
	const struct schedules *s =
		c->aes ? (const struct schedules *)(const void *)c->aes->bytes : NULL;
	size_t len = ti_journal_section_bytes(geo);
	uint8_t iv[AES_BLOCK_SIZE] = { 0 };
	struct ti_le32 number;

	switch (c->kind) {
	case TI_SEAL_CTR:
	case TI_SEAL_CHACHA20:
		apply_stream(c->stream->bytes + i * len, in, out, len);
		break;
	case TI_SEAL_CBC:
		/* dm-integrity: the IV is the section's number, encrypted. */
		ti_le32_set(&number, i);
		memcpy(iv, &number, sizeof(number));
		AES_encrypt(iv, iv, &s->encrypt);
		AES_cbc_encrypt(in, out, len, encrypt ? &s->encrypt : &s->decrypt, iv, encrypt);
		break;
	case TI_SEAL_ECB:
		for (size_t at = 0; at < len; at += AES_BLOCK_SIZE)
			AES_ecb_encrypt(in + at, out + at, encrypt ? &s->encrypt : &s->decrypt,
					encrypt);
		break;
	case TI_SEAL_PLAIN:
		break;
	}
}
