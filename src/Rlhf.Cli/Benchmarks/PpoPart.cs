using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Training.Loop;
using Rlhf.Training.Ppo;

namespace Rlhf.Cli.Benchmarks;

/// <summary>A PPO step on given rollouts: reference, old logprobs, and epochs over all rows as one minibatch.</summary>
internal sealed class PpoPart : BenchmarkPart
{
    public override string Name => "ppo";

    public override string Description => "a PPO step on all rows, whose last tokens are the answers";

    public override IBenchmarkRun Prepare(PartWorkload workload) => new Run(workload);

    private sealed class Run : IBenchmarkRun
    {
        private readonly PartWorkload workload;
        private readonly CausalLMWithValueHead policy;
        private readonly PpoTrainer trainer;
        private readonly Rollout rollout;

        public Run(PartWorkload workload)
        {
            this.workload = workload;
            policy = CausalLMWithValueHead.FromModel(workload.NewModel(), workload.Seed);
            trainer = new PpoTrainer(policy, new PpoConfig
            {
                BatchSize = workload.Rows.Count,
                MiniBatchSize = workload.Rows.Count,
                PpoEpochs = workload.Epochs,
                Seed = workload.Seed,
            });
            // Of a short row, half is the answer.
            int Answer(int[] row) => Math.Min(workload.AnswerTokens, row.Length / 2);
            rollout = new Rollout([.. workload.Rows.Select(r => r[..^Answer(r)])], [.. workload.Rows.Select(r => r[^Answer(r)..])]);
            Tokens = workload.Lengths.Sum();
            Gflop = (2 + 3 * workload.Epochs) * (UsefulFlops.Trunk(workload.Shape, workload.Lengths)
                + UsefulFlops.Head(workload.Shape, workload.Rows.Sum(Answer))) / 1e9;
        }

        public double? Gflop { get; }

        public long Tokens { get; }

        public void Step(int index)
        {
            var random = new RandomStream(workload.Seed, "bench ppo").Fork(index);
            trainer.Step(rollout, [.. workload.Rows.Select(_ => (float)random.NextGaussian())]);
        }

        public void Dispose()
        {
            trainer.Dispose();
            policy.Dispose();
        }
    }
}
