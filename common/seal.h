/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What keeps strangers out of superblock and journal: journal_mac and journal_crypt.
 *
 *     superblock    with journal_mac and fix_hmac: a MAC over its first sector, at that sector's
 * end journal       journal_mac: a MAC per section over the sector numbers of its entries (their
 * data is covered by the tags); journal_crypt: all of it encrypted, commit ids too
 *
 * (Format: superblock; section MAC; journal_crypt.)  The MAC is of the plain text.
 *
 * Ciphers come in two classes.  A stream (ctr(aes), chacha20) gives a key stream that covers the
 * whole journal from its beginning; it is made once, at open, as long as the journal, and brings
 * commit ids of its own. A block cipher (cbc(aes), ecb(aes)) takes each section as one message.
 *
 * Everything that a key can be computed from lies in secret memory (secret.h).  A NULL seal is one
 * without MAC and cipher, and fine everywhere.
 */
#ifndef TI_SEAL_H
#define TI_SEAL_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "geometry.h"
#include "hash.h"
#include "journal_format.h"
#include "secret.h"
#include "superblock.h"

struct ti_seal_options {
	const char *mac;		   /* a digest's name as in ti_hash_find(), or NULL */
	const struct ti_secret *mac_key;   /* of a keyed one, else NULL */
	const char *crypt;		   /* a cipher's name, or NULL */
	const struct ti_secret *crypt_key; /* goes with it */
};

struct ti_seal;

/** Is there such a cipher?  Kernel's names and integritysetup's ("ctr(aes)", "ctr-aes"). */
bool ti_seal_cipher_is_known(const char *name);

/** The kernel's name of a cipher that is known.  Static. */
const char *ti_seal_cipher_name(const char *name);

#define TI_SEAL_CIPHER_NAMES "ctr-aes, chacha20, cbc-aes and ecb-aes"

/**
 * Prepare what can be prepared without a superblock.  *@seal is NULL if @options asks for nothing.
 * The keys are not needed afterwards, but those of a cipher until ti_seal_start().
 * Returns 0, -EOPNOTSUPP for an unknown name, -ENOKEY or -EINVAL for a missing, superfluous or
 * unfitting key, -ENOMEM.
 */
int ti_seal_open(const struct ti_seal_options *options, struct ti_seal **seal,
		 struct ti_error *error);

/** Wipe and free; NULL is fine. */
void ti_seal_close(struct ti_seal *seal);

/**
 * Does the superblock in @buf, parsed into @sb, want a journal MAC exactly if there is one here,
 * and is its own MAC right?  @where: the device.  Returns 0, -EINVAL (wants, wants not), -EILSEQ.
 */
int ti_seal_check_superblock(const struct ti_seal *seal, const uint8_t *buf,
			     const struct ti_superblock *sb, const char *where,
			     struct ti_error *error);

/**
 * May tags be made anew of what lies on the data device?  dm-integrity: with keyed tags that would
 * give a right tag to whatever a stranger has put there, and with them or a keyed journal_mac a
 * stranger could ask for it, as long as nothing protects the superblock.  So, unless
 * @legacy (legacy_recalculate), not without fix_hmac if either has a key; with it not if the tags
 * have one and journal_mac has none.
 * Returns 0 or -EOPNOTSUPP.
 */
int ti_seal_check_recalculate(const struct ti_seal *seal, const struct ti_superblock *sb,
			      const struct ti_hash_ops *hash, bool legacy, const char *where,
			      struct ti_error *error);

/**
 * Are the tags as long as they should be?  @told: so many bytes, or 0 if nobody has said.  In a
 * superblock that has no MAC of a key's anybody can shorten keyed tags, until one of 256 guesses is
 * right; so tags shorter than their digest must be told then.  dm-integrity: always.
 * Returns 0, -EINVAL.
 */
int ti_seal_check_tag_size(const struct ti_seal *seal, const struct ti_superblock *sb,
			   const struct ti_hash_ops *hash, uint32_t told, const char *where,
			   struct ti_error *error);

/** Put the superblock's MAC into @buf, if it has one.  After ti_superblock_write(), always. */
void ti_seal_superblock(const struct ti_seal *seal, const struct ti_superblock *sb, uint8_t *buf);

/**
 * Prepare for the journal of a pair; once.  A stream cipher takes locked memory of the journal's
 * size.
 * @geo must outlive the seal.
 */
int ti_seal_start(struct ti_seal *seal, const struct ti_superblock *sb,
		  const struct ti_geometry *geo, struct ti_error *error);

/* After ti_seal_start(). */

/** The commit ids. */
struct ti_journal_ids ti_seal_ids(const struct ti_seal *seal);

/** Does the journal lie on the medium in another form than in memory? */
bool ti_seal_encrypts(const struct ti_seal *seal);

/** Set the MAC of section @i, in plain text, when its entries are final.  io path. */
void ti_seal_mac(const struct ti_seal *seal, uint32_t i, uint8_t *section);

/** Is the MAC of section @i, in plain text, right? */
bool ti_seal_mac_is_right(const struct ti_seal *seal, uint32_t i, const uint8_t *section);

/**
 * Section @i of a fresh journal in plain text: ti_journal_format_section(), with the seal's ids and
 * MAC.
 */
void ti_seal_empty_section(const struct ti_seal *seal, const struct ti_geometry *geo, uint32_t i,
			   unsigned seq, uint8_t *section);

/** From plain text in @section to what goes to the medium in @out.  They may be the same.  io path.
 */
void ti_seal_encrypt(const struct ti_seal *seal, uint32_t i, const uint8_t *section, uint8_t *out);

/** Section @i as it was read becomes plain text, in place. */
void ti_seal_decrypt(const struct ti_seal *seal, uint32_t i, uint8_t *section);

#endif
