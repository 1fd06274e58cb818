using Rlhf.Data;
using Rlhf.Data.Batching;
using Rlhf.Models;
using Rlhf.Models.Gpt2;
using Rlhf.Rewards;
using Rlhf.Tests.Evaluation;
using Rlhf.Training.Loop;
using Rlhf.Training.Ppo;
using TorchSharp;
using static Rlhf.Tests.Training.Ppo.PpoRuns;

namespace Rlhf.Tests.Training.Ppo;

/// <summary>A long run needs no more at its end than at its beginning.</summary>
public sealed class FlatnessTests
{
    [Fact]
    public void FiveHundredStepsLeaveTensorsAndMemoryAsTheyWere()
    {
        using var policy = CausalLMWithValueHead.FromModel(Model(), seed: 2);
        using var trainer = new PpoTrainer(policy, new PpoConfig { BatchSize = 4, MiniBatchSize = 2, PpoEpochs = 1, Seed = 4 });
        Query[] queries = [.. Enumerable.Range(0, 16)
            .Select(i => new Query([.. Enumerable.Range(0, 1 + i % 3).Select(t => (i + t) % 17)], "q "))];
        var reward = new DelegateReward("length", (Completion c) => c.Response.Length % 5);
        var run = RunOf(trainer, new NumberTokenizer(17), reward, queries, responseLengths: new LengthSampler(1, 5));
        TestSetup.CollectGarbage();
        List<long> live = [], resident = [];
        run.Train(500, progress =>
        {
            live.Add(torch.Tensor.TotalCount);
            // Without what the runtime has yet to collect.
            if (progress.Step is 200 or 500)
                TestSetup.CollectGarbage();
            resident.Add(ResidentBytes());
        });
        Assert.Single(live.Skip(5).Distinct());
        Assert.InRange((double)resident[499] / resident[199], 0, 1.05);
    }

    /// <summary>Physical memory of this process.</summary>
    private static long ResidentBytes()
    {
        if (!OperatingSystem.IsLinux())
            return Environment.WorkingSet;
        string line = File.ReadLines("/proc/self/status").First(l => l.StartsWith("VmRSS:", StringComparison.Ordinal));
        return 1024 * long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]);
    }

    private static Gpt2LMHeadModel Model()
    {
        var model = new Gpt2LMHeadModel(new Gpt2Config
        {
            VocabSize = 17,
            NPositions = 8,
            NEmbd = 8,
            NLayer = 1,
            NHead = 2,
            BosTokenId = null,
            EosTokenId = null,
        });
        model.Initialize(1);
        return model;
    }
}
