using CsCheck;
using Rlhf.Evaluation;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Models.Gpt2;
using Rlhf.Runtime;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Generation;

public sealed class TextGeneratorTests : IDisposable
{
    private const int Eos = 3;

    private readonly CausalLMWithValueHead model = MakeModel();

    private static readonly GenerationConfig Sampling = new() { MaxNewTokens = 24 };

    private static readonly int[][] Queries =
        [[5], [7, 8, 9, 10, 11], [40, 2], [1, 1, 1, 1, 1, 1, 1, 1, 1], [60, 61, 62], [5], [22, 23, 24, 25]];

    public void Dispose() => model.Dispose();

    private static CausalLMWithValueHead MakeModel(int seed = 11)
    {
        // Dropout would show where it is not turned off; the end token is likely enough to come up often.
        var config = new Gpt2Config
        {
            VocabSize = 67,
            NPositions = 64,
            NEmbd = 32,
            NLayer = 2,
            NHead = 4,
            InitializerRange = 0.25,
            EosTokenId = Eos,
            AttnPdrop = 0.5,
            EmbdPdrop = 0.5,
            ResidPdrop = 0.5,
        };
        var trunk = new Gpt2LMHeadModel(config);
        trunk.Initialize(seed);
        return CausalLMWithValueHead.FromModel(trunk, 5);
    }

    private static RandomStream Stream(int seed = 1) => new(seed, "test");

    private GenerationResult Generate(
        GenerationConfig config, int seed = 1, int[]? lengths = null, int[][]? queries = null, int[]? stop = null) =>
        new TextGenerator(model) { StopTokenIds = stop ?? [] }.Generate(queries ?? Queries, config, lengths, Stream(seed));

    [Fact]
    public void Scored_tokens_are_the_streams_with_the_logprobs_of_both_models()
    {
        using var other = MakeModel(seed: 12);
        var generator = new TextGenerator(model);
        foreach (var config in new[] { Sampling, Sampling with { Temperature = 0.7, TopK = 5 } })
            foreach (var query in Queries)
            {
                var scored = generator.StreamScored(query, config, Stream(), other.PretrainedModel).ToArray();
                Assert.Equal(generator.Stream(query, config, Stream()), scored.Select(t => t.Id));
                int[] text = [.. query, .. scored.Select(t => t.Id)];
                float[] own = SequenceLogprobs.Of(model.PretrainedModel, [text], [query.Length])[0];
                float[] others = SequenceLogprobs.Of(other.PretrainedModel, [text], [query.Length])[0];
                for (int t = 0; t < scored.Length; t++)
                {
                    Assert.Equal(own[t], scored[t].Logprob, 1e-4f);
                    Assert.Equal(others[t], scored[t].OtherLogprob, 1e-4f);
                    Assert.Equal(own[t] - others[t], scored[t].LogRatio, 2e-4f);
                }
            }
    }

    [Fact]
    public void Models_of_other_vocabularies_cannot_score()
    {
        var config = new Gpt2Config { VocabSize = 60, NPositions = 64, NEmbd = 32, NLayer = 1, NHead = 4, EosTokenId = Eos };
        using var other = new Gpt2LMHeadModel(config);
        var problem = Assert.Throws<ArgumentException>(() => new TextGenerator(model).StreamScored([5], Sampling, Stream(), other));
        Assert.Contains("67 and 60", problem.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_row_is_the_same_alone_in_a_batch_and_in_turns()
    {
        foreach (var config in new[] { Sampling, Sampling with { Temperature = 0.8, TopP = 0.9, RepetitionPenalty = 1.2 } })
        {
            var together = Generate(config);
            var inTurns = new TextGenerator(model) { CacheBytes = 20_000 }.Generate(Queries, config, null, Stream());
            var alone = Queries.Select((query, r) =>
                new TextGenerator(model).Generate([query], config, null, Stream(), firstRow: r).Responses[0]);
            Assert.Equal(together.Responses, inTurns.Responses);
            Assert.Equal(together.Responses, alone);
            Assert.NotEqual(together.Responses[0], together.Responses[5]);
            Assert.NotEqual(together.Responses, Generate(config, seed: 2).Responses);
        }
    }

    [Fact]
    public void Logprobs_and_values_are_those_of_a_full_forward_pass()
    {
        var warped = Sampling with { TopK = 5, Temperature = 0.5, MinNewTokens = 4 };
        foreach (var config in new[] { Sampling, Sampling with { DoSample = false }, warped })
        {
            var result = Generate(config);
            Assert.Equal(config == Sampling, result.FromPolicy);
            using var noGrad = no_grad();
            using var scope = NewDisposeScope();
            for (int r = 0; r < Queries.Length; r++)
            {
                int[] text = [.. Queries[r], .. result.Responses[r]];
                using var batch = PackedBatch.FromRows([text]);
                var hidden = model.PretrainedModel.Forward(batch);
                var logprobs = nn.functional.log_softmax(model.PretrainedModel.Logits(hidden), -1);
                var values = model.Values(hidden);
                for (int t = 0; t < result.Responses[r].Length; t++)
                {
                    int state = Queries[r].Length + t - 1;
                    Assert.Equal(logprobs[state, result.Responses[r][t]].item<float>(), result.Logprobs[r][t], 1e-4f);
                    Assert.Equal(values[state].item<float>(), result.Values![r][t], 1e-4f);
                }
            }
        }
    }

    [Fact]
    public void Lengths_are_honoured_and_nothing_follows_the_end() =>
        Gen.Select(Gen.Int[0, 1000], Gen.Int[1, 30].Array[Queries.Length], Gen.Int[0, 6]).Sample((seed, lengths, min) =>
        {
            var result = Generate(Sampling with { MinNewTokens = min }, seed, lengths, stop: [4]);
            for (int r = 0; r < Queries.Length; r++)
            {
                var response = result.Responses[r];
                Assert.InRange(response.Length, Math.Min(min, lengths[r]), lengths[r]);
                Assert.Equal(response.Length, result.Logprobs[r].Length);
                Assert.Equal(response.Length, result.Values![r].Length);
                Assert.DoesNotContain(response[..^1], id => id is Eos or 4);
                Assert.Equal(response[^1] is Eos or 4, result.EndedByEos[r]);
                Assert.True(result.EndedByEos[r] || response.Length == lengths[r]);
            }
        }, iter: 40, threads: 1);

    [Fact]
    public void A_negative_end_token_lets_every_response_grow_to_its_length()
    {
        var result = Generate(Sampling with { EosTokenId = -1 });
        Assert.All(result.Responses, r => Assert.Equal(24, r.Length));
        Assert.All(result.EndedByEos, Assert.False);
        Assert.Contains(result.Responses, r => r.Contains(Eos));
    }

    [Fact]
    public void First_tokens_are_distributed_as_the_model_says()
    {
        const int draws = 6000;
        var result = Generate(Sampling with { MaxNewTokens = 1 }, queries: Enumerable.Repeat(Queries[1], draws).ToArray());
        var probabilities = new Dictionary<int, double>();
        for (int r = 0; r < draws; r++)
            probabilities[result.Responses[r][0]] = Math.Exp(result.Logprobs[r][0]);
        // Tokens that are too rare for the test share one class.
        var frequent = probabilities.Where(p => p.Value * draws >= 10).ToArray();
        double restExpected = draws * (1 - frequent.Sum(p => p.Value)), restCount = draws, statistic = 0;
        foreach (var (token, probability) in frequent)
        {
            int count = result.Responses.Count(r => r[0] == token);
            restCount -= count;
            statistic += Math.Pow(count - probability * draws, 2) / (probability * draws);
        }
        statistic += Math.Pow(restCount - restExpected, 2) / restExpected;
        double degrees = frequent.Length;
        Assert.True(statistic < degrees + 4 * Math.Sqrt(2 * degrees), $"chi-square is {statistic}, {degrees} degrees of freedom");
    }

    [Fact]
    public void Dropout_has_no_part_and_the_training_mode_is_kept()
    {
        var expected = Generate(Sampling);
        model.PretrainedModel.Training = true;
        var result = Generate(Sampling);
        Assert.True(model.PretrainedModel.Training);
        Assert.Equal(expected.Responses, result.Responses);
        Assert.Equal(expected.Logprobs, result.Logprobs);
    }

    [Fact]
    public void Tokens_come_out_as_they_are_chosen()
    {
        var seen = Queries.Select(_ => new List<int>()).ToArray();
        var result = new TextGenerator(model.PretrainedModel).Generate(
            Queries, Sampling, null, Stream(), onToken: (row, token) => seen[row].Add(token));
        Assert.Null(result.Values);
        Assert.Equal(result.Responses, seen.Select(s => s.ToArray()));

        var stream = new TextGenerator(model).Stream(Queries[0], Sampling, Stream());
        Assert.Equal(result.Responses[0], stream);
        Assert.Equal(result.Responses[0], stream);
    }

    [Fact]
    public void No_tensor_outlives_a_call()
    {
        Generate(Sampling);
        long before = DisposeScopeManager.Statistics.ThreadTotalLiveCount;
        for (int i = 0; i < 3; i++)
            Generate(Sampling with { TopP = 0.9 }, i);
        Assert.Throws<OperationCanceledException>(() => new TextGenerator(model).Generate(
            Queries, Sampling, null, Stream(), cancellation: new CancellationToken(canceled: true)));
        Assert.NotEmpty(new TextGenerator(model).Stream(Queries[0], Sampling, Stream()).Take(1));
        Assert.Equal(before, DisposeScopeManager.Statistics.ThreadTotalLiveCount);
    }

    [Fact]
    public void Bad_queries_are_refused_in_one_sentence()
    {
        string Refusal(int[][] queries, int[]? lengths = null) => Assert.ThrowsAny<ArgumentException>(
            () => Generate(Sampling with { MaxNewTokens = 1 }, lengths: lengths, queries: queries)).Message;
        Assert.Contains("Query 1 is empty", Refusal([[1], []]));
        Assert.Contains("token id 67", Refusal([[1], [2, 67]]));
        Assert.Contains("token id -1", Refusal([[-1]]));
        Assert.Contains("64 positions", Refusal([Enumerable.Repeat(1, 64).ToArray()]));
        Assert.Contains("64 positions", Refusal([[1]], [int.MaxValue]));
        Assert.Contains("0 response tokens", Refusal([[1]], [0]));
        Assert.Contains("2 queries but 1 response lengths", Refusal([[1], [2]], [1]));
        var settings = Assert.Throws<ConfigurationException>(() => Generate(Sampling with { Temperature = 0, EosTokenId = 67 }));
        Assert.Equal(2, settings.Problems.Count);
        Assert.Equal(63, Generate(Sampling with { EosTokenId = -1 }, lengths: [63], queries: [[5]]).Responses[0].Length);
        Assert.Empty(Generate(Sampling, queries: []).Responses);
    }

    [Fact]
    public void A_broken_model_and_impossible_settings_are_named()
    {
        var forbidden = Assert.Throws<InvalidOperationException>(
            () => Generate(Sampling with { MinNewTokens = 2 }, stop: [.. Enumerable.Range(0, 67)]));
        Assert.Contains("every token", forbidden.Message);
        using (no_grad())
        using (NewDisposeScope())
            model.PretrainedModel.Head.Layer.Weight[9].fill_(float.NaN);
        var diverged = Assert.Throws<NonFiniteLogitsException>(() => Generate(Sampling, queries: [[5]]));
        Assert.Contains("Row 0, response token 0", diverged.Message);
    }
}
