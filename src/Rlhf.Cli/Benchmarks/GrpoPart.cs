using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Training.Grpo;
using Rlhf.Training.Loop;

namespace Rlhf.Cli.Benchmarks;

/// <summary>A GRPO step with its sampling: one prompt, a group of answers with one prefill, one update from all of them.</summary>
internal sealed class GrpoPart : BenchmarkPart
{
    public override string Name => "grpo";

    public override string Description => "a GRPO step, sampling included: as many answers to one prompt as there are rows";

    public override IBenchmarkRun Prepare(PartWorkload workload) => new Run(workload);

    private sealed class Run : IBenchmarkRun
    {
        private readonly PartWorkload workload;
        private readonly CausalLM policy;
        private readonly GrpoTrainer trainer;
        private readonly int[][] queries;

        public Run(PartWorkload workload)
        {
            this.workload = workload;
            policy = workload.NewModel();
            int answers = workload.Rows.Count;
            queries = [.. Enumerable.Repeat(workload.Queries[0], answers)];
            trainer = new GrpoTrainer(policy, new GrpoConfig
            {
                NumGenerations = answers,
                BatchSize = answers,
                MiniBatchSize = answers,
                MaxCompletionLength = workload.AnswerTokens,
                Seed = workload.Seed,
            });
        }

        public long Tokens => queries.Length * ((long)queries[0].Length + workload.AnswerTokens);

        public void Step(int index)
        {
            var random = new RandomStream(workload.Seed, "bench grpo").Fork(index);
            var answers = new TextGenerator(policy).Generate(
                queries, new GenerationConfig { EosTokenId = -1, MaxNewTokens = workload.AnswerTokens, TopK = 0 }, null, random.Fork(0));
            trainer.Step(answers.ToRollout(queries) with { GroupSize = queries.Length }, [.. queries.Select(_ => (float)random.NextGaussian())]);
        }

        public void Dispose()
        {
            trainer.Dispose();
            policy.Dispose();
        }
    }
}
