using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Training.Optimization;
using Rlhf.Training.Preferences;

namespace Rlhf.Cli.Benchmarks;

/// <summary>A DPO step: reference, policy forward and backward, clipping and AdamW, on pairs of rows that share a quarter as their prompt.</summary>
internal sealed class DpoPart : BenchmarkPart
{
    public override string Name => "dpo";

    public override string Description => "a DPO step on every two rows as a pair, its reference a copy of the policy";

    public override IBenchmarkRun Prepare(PartWorkload workload) => new Run(workload);

    private sealed class Run : IBenchmarkRun
    {
        private readonly CausalLM policy;
        private readonly Reference reference;
        private readonly DpoObjective objective;
        private readonly Adam optimizer;
        private readonly PairExample[] pairs;

        public Run(PartWorkload workload)
        {
            policy = workload.NewModel();
            reference = Reference.CopyOf(policy);
            objective = new DpoObjective(policy, reference, new DpoConfig());
            optimizer = new Adam(objective.Trained);
            pairs = [.. workload.Rows.Chunk(2).Where(two => two.Length == 2).Select(two =>
            {
                int prompt = Math.Max(1, Math.Min(two[0].Length, two[1].Length) / 4);
                return new PairExample(two[0][..prompt], two[0][prompt..], two[1][prompt..]);
            })];
            int[] lengths = [.. pairs.SelectMany(p => (int[])[p.Prompt.Length + p.Chosen.Length, p.Prompt.Length + p.Rejected.Length])];
            Tokens = lengths.Sum();
            // The policy forward, and backward twice that; the reference forward.
            Gflop = 4 * (UsefulFlops.Trunk(workload.Shape, lengths)
                + UsefulFlops.Head(workload.Shape, pairs.Sum(p => (long)p.Chosen.Length + p.Rejected.Length))) / 1e9;
        }

        public double? Gflop { get; }

        public long Tokens { get; }

        public void Step(int index)
        {
            objective.ForwardBackward(pairs, 1.0 / pairs.Length);
            optimizer.ClipGradients(1);
            optimizer.Step(1e-6);
            optimizer.ZeroGradients();
        }

        public void Dispose()
        {
            optimizer.Dispose();
            reference.Dispose();
            policy.Dispose();
        }
    }
}
