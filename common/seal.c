/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* MACs, and what ciphers and MACs share.  The ciphers themselves are seal_cipher.c's. */
#include "seal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "seal_cipher.h"

/* 8 bytes in each of a section's first 8 sectors; a shorter digest is filled up with zeros. */
#define MAC_BYTES 64U

struct ti_seal {
	struct ti_hash superblock_mac; /* no salt; ops NULL: no journal_mac */
	struct ti_hash section_mac;    /* with the salt, if there is one */
	struct ti_secret *mac_key;     /* until ti_seal_start() */
	struct ti_seal_cipher cipher;  /* kind TI_SEAL_PLAIN: none */
	const struct ti_geometry *geo;
	bool numbered; /* fix_hmac: the section's number goes into its MAC */
	struct ti_journal_ids ids;
};

/* The sizes matter to tags only. */
static int open_mac(struct ti_hash *mac, const struct ti_hash_ops *ops, const struct ti_secret *key,
		    const uint8_t *salt, struct ti_error *error)
{
	const struct ti_geometry any = { .block_size = TI_SECTOR_BYTES,
					 .tag_size = ops->digest_size };

	return ti_hash_prepare(mac, ops, key, &any, salt, error);
}

static int open_superblock_mac(struct ti_seal *seal, const struct ti_seal_options *o,
			       struct ti_error *error)
{
	const struct ti_hash_ops *ops = ti_hash_find(o->mac);

	if (!ops)
		return ti_error_set(error, -EOPNOTSUPP,
				    "the digest '%s' of journal_mac is not known; hmac-sha256 is",
				    o->mac);
	if (o->mac_key && ti_secret_copy(o->mac_key, &seal->mac_key))
		return ti_error_set(error, -ENOMEM, "there is no memory for a key");
	return open_mac(&seal->superblock_mac, ops, o->mac_key, NULL, error);
}

int ti_seal_open(const struct ti_seal_options *o, struct ti_seal **out, struct ti_error *error)
{
	struct ti_seal *seal;
	int err = 0;

	*out = NULL;
	if (!o->mac && !o->crypt)
		return 0;
	seal = calloc(1, sizeof(*seal));
	if (!seal)
		return ti_error_set(error, -ENOMEM, "there is no memory for journal_mac");
	if (o->mac)
		err = open_superblock_mac(seal, o, error);
	if (!err && o->crypt)
		err = ti_seal_cipher_open(&seal->cipher, o->crypt, o->crypt_key, error);
	if (err) {
		ti_seal_close(seal);
		return err;
	}
	*out = seal;
	return 0;
}

void ti_seal_close(struct ti_seal *seal)
{
	if (!seal)
		return;
	ti_hash_destroy(&seal->superblock_mac);
	ti_hash_destroy(&seal->section_mac);
	ti_secret_free(seal->mac_key);
	ti_seal_cipher_close(&seal->cipher);
	free(seal);
}

static bool has_mac(const struct ti_seal *seal)
{
	return seal && seal->superblock_mac.ops;
}

/* dm-integrity: of the first sector only, up to where the MAC itself begins. */
static void superblock_mac(const struct ti_seal *seal, const uint8_t *buf, uint8_t *mac)
{
	const struct iovec piece = {
		.iov_base = (uint8_t *)(uintptr_t)buf,
		.iov_len = TI_SECTOR_BYTES - seal->superblock_mac.ops->digest_size,
	};

	ti_hash_message(&seal->superblock_mac, &piece, 1, mac);
}

int ti_seal_check_superblock(const struct ti_seal *seal, const uint8_t *buf,
			     const struct ti_superblock *sb, const char *where,
			     struct ti_error *error)
{
	uint8_t mac[TI_HASH_MAX_DIGEST];
	unsigned size;

	if ((sb->flags & TI_SB_HAVE_JOURNAL_MAC) && !has_mac(seal))
		return ti_error_set(error, -EINVAL,
				    "%s has the flag journal_mac (a keyed journal): give the "
				    "digest and the key that it was formatted with, as "
				    "journal_integrity",
				    where);
	if (!(sb->flags & TI_SB_HAVE_JOURNAL_MAC) && has_mac(seal))
		return ti_error_set(error, -EINVAL,
				    "%s was formatted without journal_mac, and one is given: leave "
				    "journal_integrity out",
				    where);
	if (!has_mac(seal) || !(sb->flags & TI_SB_FIXED_HMAC))
		return 0;
	size = seal->superblock_mac.ops->digest_size;
	superblock_mac(seal, buf, mac);
	if (ti_secret_equal(mac, buf + TI_SECTOR_BYTES - size, size))
		return 0;
	return ti_error_set(error, -EILSEQ,
			    "the superblock on %s does not match its MAC: the digest or the key of "
			    "journal_integrity is another one, or somebody has changed the "
			    "superblock",
			    where);
}

int ti_seal_check_recalculate(const struct ti_seal *seal, const struct ti_superblock *sb,
			      const struct ti_hash_ops *hash, bool legacy, const char *where,
			      struct ti_error *error)
{
	bool mac_keyed = has_mac(seal) && seal->superblock_mac.ops->keyed;
	bool refused =
		sb->flags & TI_SB_FIXED_HMAC ? hash->keyed && !mac_keyed : hash->keyed || mac_keyed;

	if (legacy || !refused)
		return 0;
	return ti_error_set(error, -EOPNOTSUPP,
			    "%s is to be recalculated, which would give a right tag to whatever "
			    "somebody without the key has put on the data device: give "
			    "legacy_recalculate if the data is to be trusted as it is",
			    where);
}

int ti_seal_check_tag_size(const struct ti_seal *seal, const struct ti_superblock *sb,
			   const struct ti_hash_ops *hash, uint32_t told, const char *where,
			   struct ti_error *error)
{
	bool sealed =
		has_mac(seal) && seal->superblock_mac.ops->keyed && (sb->flags & TI_SB_FIXED_HMAC);

	if (told && told != sb->tag_size)
		return ti_error_set(error, -EINVAL,
				    "%s has tags of %u bytes, and %u are what was given: if they "
				    "were formatted so, somebody has changed the superblock",
				    where, sb->tag_size, told);
	if (told || !hash->keyed || sealed || sb->tag_size >= hash->digest_size)
		return 0;
	return ti_error_set(error, -EINVAL,
			    "%s has tags of %u bytes, less than the %u of %s, and no MAC keeps "
			    "somebody without the key from making them so short that one can be "
			    "guessed: give the tag size if the pair was formatted with it",
			    where, sb->tag_size, hash->digest_size, hash->name);
}

void ti_seal_superblock(const struct ti_seal *seal, const struct ti_superblock *sb, uint8_t *buf)
{
	uint8_t mac[TI_HASH_MAX_DIGEST];
	unsigned size;

	if (!has_mac(seal) || !(sb->flags & TI_SB_FIXED_HMAC))
		return;
	size = seal->superblock_mac.ops->digest_size;
	superblock_mac(seal, buf, mac);
	memcpy(buf + TI_SECTOR_BYTES - size, mac, size);
}

int ti_seal_start(struct ti_seal *seal, const struct ti_superblock *sb,
		  const struct ti_geometry *geo, struct ti_error *error)
{
	int err = 0;

	if (!seal)
		return 0;
	seal->geo = geo;
	seal->ids = ti_journal_plain_ids();
	seal->numbered = sb->flags & TI_SB_FIXED_HMAC;
	if (has_mac(seal))
		err = open_mac(&seal->section_mac, seal->superblock_mac.ops, seal->mac_key,
			       seal->numbered ? sb->salt : NULL, error);
	if (!err)
		err = ti_seal_cipher_start(&seal->cipher, geo, &seal->ids, error);
	ti_secret_free(seal->mac_key);
	seal->mac_key = NULL;
	return err;
}

struct ti_journal_ids ti_seal_ids(const struct ti_seal *seal)
{
	return seal ? seal->ids : ti_journal_plain_ids();
}

bool ti_seal_encrypts(const struct ti_seal *seal)
{
	return seal && seal->cipher.kind != TI_SEAL_PLAIN;
}

/* dm-integrity: the sector fields of all entries, the unused ones' too; with fix_hmac, behind the
 * section's number. */
static void section_mac(const struct ti_seal *seal, uint32_t i, const uint8_t *section,
			uint8_t *mac)
{
	struct ti_le64 number, sector[TI_JOURNAL_MAX_ENTRIES];
	const struct iovec piece[2] = {
		{ .iov_base = &number, .iov_len = seal->numbered ? sizeof(number) : 0 },
		{ .iov_base = sector, .iov_len = seal->geo->section_entries * sizeof(*sector) },
	};

	ti_le64_set(&number, i);
	for (uint32_t n = 0; n < seal->geo->section_entries; n++)
		ti_le64_set(&sector[n], ti_journal_entry_sector(seal->geo, section, n));
	memset(mac, 0, MAC_BYTES);
	ti_hash_message(&seal->section_mac, piece, 2, mac);
}

static size_t mac_offset(unsigned k)
{
	return k * TI_SECTOR_BYTES + TI_JOURNAL_ENTRY_SPACE_MAC;
}

void ti_seal_mac(const struct ti_seal *seal, uint32_t i, uint8_t *section)
{
	uint8_t mac[MAC_BYTES];

	if (!has_mac(seal))
		return;
	section_mac(seal, i, section, mac);
	for (unsigned k = 0; k < TI_JOURNAL_META_SECTORS; k++)
		memcpy(section + mac_offset(k), mac + 8 * k, 8);
}

bool ti_seal_mac_is_right(const struct ti_seal *seal, uint32_t i, const uint8_t *section)
{
	uint8_t mac[MAC_BYTES], found[MAC_BYTES];

	if (!has_mac(seal))
		return true;
	section_mac(seal, i, section, mac);
	for (unsigned k = 0; k < TI_JOURNAL_META_SECTORS; k++)
		memcpy(found + 8 * k, section + mac_offset(k), 8);
	return ti_secret_equal(mac, found, MAC_BYTES);
}

void ti_seal_empty_section(const struct ti_seal *seal, const struct ti_geometry *geo, uint32_t i,
			   unsigned seq, uint8_t *section)
{
	ti_journal_format_section(geo, i, seq, section);
	if (!seal)
		return;
	for (uint32_t j = 0; j < geo->section_sectors; j++)
		ti_journal_set_id(section, j, ti_journal_commit_id(&seal->ids, i, j, seq));
	ti_seal_mac(seal, i, section);
}

void ti_seal_encrypt(const struct ti_seal *seal, uint32_t i, const uint8_t *section, uint8_t *out)
{
	if (ti_seal_encrypts(seal))
		ti_seal_cipher_run(&seal->cipher, seal->geo, i, true, section, out);
	else if (out != section)
		memcpy(out, section, ti_journal_section_bytes(seal->geo));
}

void ti_seal_decrypt(const struct ti_seal *seal, uint32_t i, uint8_t *section)
{
	if (ti_seal_encrypts(seal))
		ti_seal_cipher_run(&seal->cipher, seal->geo, i, false, section, section);
}
