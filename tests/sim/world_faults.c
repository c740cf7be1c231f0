/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See world_faults.h. */
#include "world_faults.h"

#include <errno.h>
#include <string.h>

void faults_none(struct faults *f)
{
	f->rules = 0;
	f->vanishing = false;
}

static struct fault_rule everything(enum ti_device dev, int err)
{
	return (struct fault_rule){
		.dev = dev,
		.op = { true, true, true, true },
		.last = UINT64_MAX,
		.percent = 100,
		.times = UINT64_MAX,
		.until_ns = UINT64_MAX,
		.err = err,
	};
}

static struct fault_rule any_rule(struct sim_random *r, const uint64_t *bytes, uint64_t now_ns)
{
	enum ti_device dev = sim_chance(r, 50) ? TI_DATA : TI_META;
	struct fault_rule rule = everything(dev, -EIO);

	memset(rule.op, 0, sizeof(rule.op));
	rule.op[sim_below(r, 3)] = true;
	rule.op[TI_IO_DISCARD] = rule.op[TI_IO_WRITE];
	if (!sim_chance(r, 20))
		rule.percent = 1 + (unsigned)sim_below(r, 30);
	if (sim_chance(r, 30)) {
		rule.first = sim_below(r, bytes[dev]);
		rule.last = rule.first + sim_below(r, bytes[dev] / 4);
		rule.percent = 100;
	}
	if (sim_chance(r, 30)) {
		rule.times = 1 + sim_below(r, 3);
		rule.percent = 100;
	} else if (sim_chance(r, 30)) {
		rule.until_ns = now_ns + sim_below(r, 5 * TI_NS_PER_MS);
	}
	return rule;
}

void faults_choose(struct faults *f, struct sim_random *r, const uint64_t *bytes, uint64_t now_ns)
{
	faults_none(f);
	if (sim_chance(r, 50))
		return;
	if (sim_chance(r, 15)) {
		f->rule[f->rules++] = everything(sim_chance(r, 50) ? TI_DATA : TI_META, -ENODEV);
		return;
	}
	for (unsigned n = 1 + (unsigned)sim_below(r, FAULT_RULES); f->rules < n;)
		f->rule[f->rules++] = any_rule(r, bytes, now_ns);
}

void faults_vanish_after(struct faults *f, unsigned count, bool remembered)
{
	faults_none(f);
	f->vanishing = true;
	f->vanish_after = count;
	f->vanish_err = remembered ? -ENODEV : -ECANCELED;
}

static bool hits(const struct fault_rule *rule, const struct ti_io *io, uint64_t now_ns)
{
	if (rule->dev != io->dev || !rule->op[io->op] || rule->times == 0 ||
	    now_ns > rule->until_ns)
		return false;
	return io->op == TI_IO_FLUSH ||
	       (io->offset <= rule->last && io->offset + io->len > rule->first);
}

int faults_hit(struct faults *f, struct sim_random *r, const struct ti_io *io, uint64_t now_ns)
{
	if (f->vanishing && f->vanish_after == 0)
		return f->vanish_err;
	if (f->vanishing)
		f->vanish_after--;
	for (unsigned i = 0; i < f->rules; i++) {
		struct fault_rule *rule = &f->rule[i];

		if (!hits(rule, io, now_ns) || !sim_chance(r, rule->percent))
			continue;
		if (rule->times != UINT64_MAX)
			rule->times--;
		return rule->err;
	}
	return 0;
}
