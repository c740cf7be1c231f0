/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Digests: published vectors, a second implementation bit by bit, and every way to cut a block.
 */
#include "hash.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "le.h"
#include "superblock.h"

static const uint8_t salt[TI_SALT_BYTES] = { 1,	 2,  3,	 5,  8,	 13, 21, 34,
					     55, 89, 14, 23, 37, 61, 98, 15 };

/* CRC-32C by its definition: one bit at a time, polynomial 1EDC6F41 reflected. */
static uint32_t bitwise(uint32_t reg, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++) {
		reg ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			reg = reg & 1 ? reg >> 1 ^ 0x82f63b78U : reg >> 1;
	}
	return reg;
}

static void reference_tag(bool salted, uint64_t sector, const void *block, size_t len, uint8_t *tag)
{
	uint8_t number[8];
	uint32_t reg = UINT32_MAX;

	for (unsigned i = 0; i < 8; i++)
		number[i] = (uint8_t)(sector >> (8 * i));
	if (salted)
		reg = bitwise(reg, salt, sizeof(salt));
	reg = bitwise(reg, number, 8);
	reg = ~bitwise(reg, block, len);
	for (unsigned i = 0; i < 4; i++)
		tag[i] = (uint8_t)(reg >> (8 * i));
}

static void fill(uint8_t *buf, size_t len)
{
	uint32_t x = 12345;

	for (size_t i = 0; i < len; i++) {
		x = x * 1103515245 + 12345;
		buf[i] = (uint8_t)(x >> 16);
	}
}

static uint32_t digest_of(const void *message, size_t len)
{
	struct ti_hash h;
	struct iovec piece = { .iov_base = (uint8_t *)(uintptr_t)message, .iov_len = len };
	struct ti_le32 digest;

	assert_int_equal(ti_hash_init(&h, &ti_hash_crc32c, 512, 4, NULL), 0);
	ti_hash_message(&h, &piece, 1, (uint8_t *)&digest);
	ti_hash_destroy(&h);
	return ti_le32_get(&digest);
}

static void published_vectors_come_out(void **state)
{
	uint8_t m[32];

	(void)state;
	assert_int_equal(digest_of("123456789", 9), 0xe3069283);
	/* RFC 3720, B.4 */
	memset(m, 0, 32);
	assert_int_equal(digest_of(m, 32), 0x8a9136aa);
	memset(m, 0xff, 32);
	assert_int_equal(digest_of(m, 32), 0x62a8ab43);
	for (unsigned i = 0; i < 32; i++)
		m[i] = (uint8_t)i;
	assert_int_equal(digest_of(m, 32), 0x46dd794e);
	for (unsigned i = 0; i < 32; i++)
		m[i] = (uint8_t)(31 - i);
	assert_int_equal(digest_of(m, 32), 0x113fdb5c);
}

static void digests_are_found_by_the_kernels_name(void **state)
{
	(void)state;
	assert_ptr_equal(ti_hash_find("crc32c"), &ti_hash_crc32c);
	assert_int_equal(ti_hash_crc32c.digest_size, 4);
	assert_ptr_equal(ti_hash_find("crc32"), &ti_hash_crc32);
	assert_null(ti_hash_find("crc64"));
	assert_null(ti_hash_find("CRC32C"));
	assert_null(ti_hash_find(""));
}

static void impossible_sizes_are_refused(void **state)
{
	struct ti_hash h;

	(void)state;
	assert_int_equal(ti_hash_init(&h, &ti_hash_crc32c, 512, 0, NULL), -EINVAL);
	assert_int_equal(ti_hash_init(&h, &ti_hash_crc32c, 512, 256, NULL), -EINVAL);
	assert_int_equal(ti_hash_init(&h, &ti_hash_crc32c, 0, 4, NULL), -EINVAL);
	assert_int_equal(ti_hash_init(&h, &ti_hash_crc32c, 8192, 4, NULL), -EINVAL);
}

static void tags_equal_the_bitwise_ones_plain_and_salted(void **state)
{
	static uint8_t data[4 * 4096];
	static const uint64_t sectors[] = { 0, 8, 0x11223344556677f8ULL };

	(void)state;
	fill(data, sizeof(data));
	for (uint32_t block = 512; block <= 4096; block *= 2) {
		for (size_t s = 0; s < 3; s++) {
			for (int salted = 0; salted < 2; salted++) {
				struct iovec iov = { .iov_base = data, .iov_len = 4 * block };
				struct ti_iov_cursor c = ti_iov_cursor(&iov, 1);
				struct ti_hash h;
				uint8_t tags[16], want[4];

				assert_int_equal(ti_hash_init(&h, &ti_hash_crc32c, block, 4,
							      salted ? salt : NULL),
						 0);
				ti_hash_blocks(&h, sectors[s], &c, 4, tags);
				for (unsigned i = 0; i < 4; i++) {
					reference_tag(salted, sectors[s] + i * (block / 512),
						      data + i * block, block, want);
					assert_memory_equal(tags + 4 * i, want, 4);
				}
				ti_hash_destroy(&h);
			}
		}
	}
}

/* The sector's number goes through in one step, unless it is cut. */
static void each_byte_of_the_sector_counts_at_its_place(void **state)
{
	static const struct ti_hash_ops *const crcs[] = { &ti_hash_crc32c, &ti_hash_crc32 };
	uint8_t number[8], block[512], whole[4], cut[4];

	(void)state;
	fill(block, sizeof(block));
	for (unsigned i = 0; i < 4; i++) {
		struct ti_hash h;

		assert_int_equal(ti_hash_init(&h, crcs[i / 2], 512, 4, i % 2 ? salt : NULL), 0);
		for (unsigned n = 0; n < 8 * 256; n++) {
			struct iovec two[] = { { number, 8 }, { block, sizeof(block) } };
			struct iovec three[] = { { number, 3 },
						 { number + 3, 5 },
						 { block, sizeof(block) } };

			fill(number, sizeof(number));
			number[n / 256] = (uint8_t)n;
			ti_hash_message(&h, two, 2, whole);
			ti_hash_message(&h, three, 3, cut);
			assert_memory_equal(whole, cut, sizeof(whole));
		}
		ti_hash_destroy(&h);
	}
}

static void salt_and_sector_change_every_tag(void **state)
{
	static uint8_t block[512];
	uint8_t plain[8], salted[8];
	struct ti_hash h;

	(void)state;
	assert_int_equal(ti_hash_init(&h, &ti_hash_crc32c, 512, 4, NULL), 0);
	ti_hash_same(&h, 0, block, 2, plain);
	ti_hash_destroy(&h);
	assert_int_equal(ti_hash_init(&h, &ti_hash_crc32c, 512, 4, salt), 0);
	ti_hash_same(&h, 0, block, 2, salted);
	ti_hash_destroy(&h);
	assert_memory_not_equal(plain, plain + 4, 4);
	assert_memory_not_equal(plain, salted, 4);
	assert_memory_not_equal(plain + 4, salted + 4, 4);
}

static void tags_are_cut_or_filled_up_with_zeros(void **state)
{
	static uint8_t data[3 * 512];
	static uint8_t tags[3 * 255 + 1];

	(void)state;
	fill(data, sizeof(data));
	for (uint32_t tag_size = 1; tag_size <= 255; tag_size++) {
		struct iovec iov = { .iov_base = data, .iov_len = sizeof(data) };
		struct ti_iov_cursor c = ti_iov_cursor(&iov, 1);
		struct ti_hash h;

		assert_int_equal(ti_hash_init(&h, &ti_hash_crc32c, 512, tag_size, salt), 0);
		memset(tags, 0xee, sizeof(tags));
		ti_hash_blocks(&h, 40, &c, 3, tags);
		for (unsigned i = 0; i < 3; i++) {
			uint8_t want[255] = { 0 };

			reference_tag(true, 40 + i, data + (size_t)i * 512, 512, want);
			assert_memory_equal(tags + (size_t)i * tag_size, want, tag_size);
		}
		assert_int_equal(tags[3 * tag_size], 0xee);
		ti_hash_destroy(&h);
	}
}

/* Cut @len bytes into pieces of 1 to @largest bytes, some of them empty.  Returns their number. */
static size_t cut(uint8_t *data, size_t len, size_t largest, struct iovec *iov)
{
	size_t n = 0, at = 0;

	while (at < len) {
		size_t piece = (size_t)rand() % (largest + 1);

		if (piece > len - at)
			piece = len - at;
		iov[n++] = (struct iovec){ .iov_base = data + at, .iov_len = piece };
		at += piece;
	}
	return n;
}

static void fragments_of_any_size_give_the_same_tags(void **state)
{
	static const size_t largest[] = { 1, 3, 32, 300, 512, 5000, 40000 };
	static uint8_t data[8 * 4096];
	static struct iovec iov[4 * sizeof(data)];

	(void)state;
	srand(1);
	fill(data, sizeof(data));
	for (uint32_t block = 512; block <= 4096; block *= 2) {
		size_t n = sizeof(data) / block;
		uint8_t want[64 * 4], got[64 * 4];
		struct ti_hash h;

		assert_int_equal(ti_hash_init(&h, &ti_hash_crc32c, block, 4, salt), 0);
		for (size_t i = 0; i < n; i++)
			reference_tag(true, 1000 + i * (block / 512), data + i * block, block,
				      want + 4 * i);
		for (size_t l = 0; l < sizeof(largest) / sizeof(largest[0]); l++) {
			size_t count = cut(data, sizeof(data), largest[l], iov);
			struct ti_iov_cursor c = ti_iov_cursor(iov, count);
			uint8_t rest;

			/* In two calls: the cursor stands right in between. */
			memset(got, 0, sizeof(got));
			ti_hash_blocks(&h, 1000, &c, n / 2, got);
			ti_hash_blocks(&h, 1000 + n / 2 * (block / 512), &c, n - n / 2,
				       got + n / 2 * 4);
			assert_memory_equal(got, want, 4 * n);
			assert_int_equal(ti_iov_copy_out(&c, &rest, 1), 0);
		}
		ti_hash_destroy(&h);
	}
}

static void same_block_many_times_equals_the_blocks_one_by_one(void **state)
{
	static uint8_t data[5 * 1024];
	uint8_t same[5 * 7], each[5 * 7];
	struct iovec iov = { .iov_base = data, .iov_len = sizeof(data) };
	struct ti_iov_cursor c = ti_iov_cursor(&iov, 1);
	struct ti_hash h;

	(void)state;
	fill(data, 1024);
	for (unsigned i = 1; i < 5; i++)
		memcpy(data + (size_t)i * 1024, data, 1024);
	assert_int_equal(ti_hash_init(&h, &ti_hash_crc32c, 1024, 7, salt), 0);
	ti_hash_same(&h, 6, data, 5, same);
	ti_hash_blocks(&h, 6, &c, 5, each);
	ti_hash_destroy(&h);
	assert_memory_equal(same, each, sizeof(same));
}

static void destroy_wipes_the_state(void **state)
{
	struct ti_hash h, zero = { 0 };

	(void)state;
	assert_int_equal(ti_hash_init(&h, &ti_hash_crc32c, 512, 4, salt), 0);
	ti_hash_destroy(&h);
	assert_memory_equal(&h, &zero, sizeof(h));
	/* Safe on what was never made. */
	ti_hash_destroy(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_vectors_come_out),
		cmocka_unit_test(digests_are_found_by_the_kernels_name),
		cmocka_unit_test(impossible_sizes_are_refused),
		cmocka_unit_test(tags_equal_the_bitwise_ones_plain_and_salted),
		cmocka_unit_test(each_byte_of_the_sector_counts_at_its_place),
		cmocka_unit_test(salt_and_sector_change_every_tag),
		cmocka_unit_test(tags_are_cut_or_filled_up_with_zeros),
		cmocka_unit_test(fragments_of_any_size_give_the_same_tags),
		cmocka_unit_test(same_block_many_times_equals_the_blocks_one_by_one),
		cmocka_unit_test(destroy_wipes_the_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
