using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Runtime;

namespace Rlhf.Cli.Benchmarks;

/// <summary>Sampling: an answer of a fixed length to each query, all queries together.</summary>
internal sealed class GeneratePart : BenchmarkPart
{
    public override string Name => "generate";

    public override bool TrainsAllWeights => false;

    public override string Description => "answers to all queries, sampled together; has to read every weight once per token";

    public override IBenchmarkRun Prepare(PartWorkload workload) => new Run(workload);

    private sealed class Run(PartWorkload workload) : IBenchmarkRun
    {
        private readonly CausalLM model = workload.NewModel();

        public long Tokens => (long)workload.AnswerTokens * workload.Queries.Count;

        public double? Gigabytes => workload.AnswerTokens * (double)ReadWeights(workload.Shape) * model.Head.Layer.Weight.ElementSize / 1e9;

        public void Step(int index) => new TextGenerator(model).Generate(workload.Queries,
            new GenerationConfig { EosTokenId = -1, MaxNewTokens = workload.AnswerTokens }, null,
            new RandomStream(workload.Seed, "bench generate").Fork(index));

        public void Dispose() => model.Dispose();

        /// <summary>All weights; of an input embedding that is not the output layer's, a token reads one row.</summary>
        private static long ReadWeights(ModelShape shape) =>
            shape.Parameters - (shape.OutputParameters > 0 ? (long)shape.VocabSize * shape.Width : 0);
    }
}
