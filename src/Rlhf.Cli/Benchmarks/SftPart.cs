using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Training.Optimization;
using Rlhf.Training.Sft;

namespace Rlhf.Cli.Benchmarks;

/// <summary>Supervised fine-tuning: all rows forward and backward, clipping and AdamW; of all weights, or of adapters of rank 16 on every linear layer.</summary>
internal sealed class SftPart(bool withLora) : BenchmarkPart
{
    private const int Rank = 16;

    public override string Name => withLora ? "sft-lora" : "sft";

    public override bool TrainsAllWeights => !withLora;

    public override string Description => withLora ? "the same with LoRA adapters of rank 16 on every linear layer"
        : "a step of supervised fine-tuning on all rows";

    public override IBenchmarkRun Prepare(PartWorkload workload) => new Run(workload, withLora);

    private sealed class Run : IBenchmarkRun
    {
        private readonly CausalLM model;
        private readonly LoraAdapter? adapter;
        private readonly SftObjective objective;
        private readonly Adam optimizer;
        private readonly SftExample[] examples;

        public Run(PartWorkload workload, bool withLora)
        {
            model = workload.NewModel();
            if (withLora)
                adapter = LoraAdapter.Attach(model, new LoraConfig { R = Rank, TargetModules = ModuleSelection.AllLinear }, workload.Seed);
            objective = new SftObjective(model);
            optimizer = new Adam(objective.Trained, weightDecay: 0.01);
            examples = [.. workload.Rows.Select(r => new SftExample(r))];
            Tokens = workload.Lengths.Sum();
            // The backward pass is twice the forward pass, gradients of the input and of the weights; of frozen weights there are none. (The
            // adapters' own products, 4 % of that, are not counted.)
            Gflop = (withLora ? 2 : 3) * (UsefulFlops.Trunk(workload.Shape, workload.Lengths)
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
            adapter?.Dispose();
            model.Dispose();
        }
    }
}
