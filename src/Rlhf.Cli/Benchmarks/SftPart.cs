using Rlhf.Models;
using Rlhf.Training.Optimization;
using Rlhf.Training.Sft;

namespace Rlhf.Cli.Benchmarks;

/// <summary>Supervised fine-tuning: all rows forward and backward, clipping and AdamW.</summary>
internal sealed class SftPart : BenchmarkPart
{
    public override string Name => "sft";

    public override string Description => "a step of supervised fine-tuning on all rows";

    public override IBenchmarkRun Prepare(PartWorkload workload) => new Run(workload);

    private sealed class Run : IBenchmarkRun
    {
        private readonly CausalLM model;
        private readonly SftObjective objective;
        private readonly Adam optimizer;
        private readonly SftExample[] examples;

        public Run(PartWorkload workload)
        {
            model = workload.NewModel();
            objective = new SftObjective(model);
            optimizer = new Adam(objective.Trained, weightDecay: 0.01);
            examples = [.. workload.Rows.Select(r => new SftExample(r))];
            Tokens = workload.Lengths.Sum();
            // The backward pass is twice the forward pass: gradients of the input and of the weights.
            Gflop = 3 * (UsefulFlops.Trunk(workload.Shape, workload.Lengths)
                + UsefulFlops.Head(workload.Shape, examples.Sum(e => (long)e.LossTokens))) / 1e9;
        }

        public double? Gflop { get; }

        public long Tokens { get; }

        public void Step(int index)
        {
            objective.ForwardBackward(examples, 1 / examples.Sum(objective.Weight));
            optimizer.ClipGradients(1);
            optimizer.Step(1e-5);
            optimizer.ZeroGradients();
        }

        public void Dispose()
        {
            optimizer.Dispose();
            model.Dispose();
        }
    }
}
