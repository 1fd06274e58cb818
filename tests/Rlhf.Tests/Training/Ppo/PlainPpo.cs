using Rlhf.Data;
using Rlhf.Data.Batching;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using Rlhf.Training.Ppo;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Training.Ppo;

/// <summary>
/// PPO without any shortcut, from TRL 0.11.4's formulas: one row at a time, a whole forward pass for each token, logits of all
/// positions, autograd through log_softmax and the losses, logprobs and values computed anew, TorchSharp's own Adam, one text at a time to
/// the classifier. Only the random streams, the draw from a distribution and the model's layers are the library's.
/// </summary>
internal sealed class PlainPpo : IDisposable
{
    private readonly PpoConfig config;
    private readonly CausalLMWithValueHead policy;
    private readonly CausalLM reference;
    private readonly ITokenizer tokenizer;
    private readonly TextClassificationPipeline classifier;
    private readonly IReadOnlyList<Query> queries;
    private readonly LengthSampler lengths;
    private readonly ShuffledBatches batches;
    private readonly RandomStream order;
    private readonly optim.Optimizer adam;
    private readonly TorchSharp.Modules.Parameter[] parameters;
    private double klCoef;

    public PlainPpo(PpoConfig config, CausalLMWithValueHead policy, ITokenizer tokenizer,
        TextClassificationPipeline classifier, IReadOnlyList<Query> queries, LengthSampler lengths)
    {
        (this.config, this.policy, this.tokenizer, this.classifier) = (config, policy, tokenizer, classifier);
        (this.queries, this.lengths) = (queries, lengths);
        reference = policy.CreateReferenceModel();
        batches = new ShuffledBatches(queries.Count, config.BatchSize, config.Seed);
        order = new RandomStream(config.Seed, "ppo/order");
        parameters = [.. policy.NamedParameters.Select(p => p.Value)];
        adam = optim.Adam(parameters, config.LearningRate);
        klCoef = config.InitKlCoef;
    }

    public PlainStep Step(long step)
    {
        using var scope = NewDisposeScope();
        Query[] batch = [.. batches.Next().Select(i => queries[i])];
        int[] newTokens = lengths.Sample(new RandomStream(config.Seed, "ppo/response-length").Fork(step), batch.Length);
        var sampling = new RandomStream(config.Seed, "ppo/sampling").Fork(step);
        int[][] responses = [.. batch.Select((q, b) => Sample(q.TokenIds, newTokens[b], sampling.Fork(b)))];
        float[] scores = [.. batch.Select((q, b) =>
            classifier.Logits([q.Text + tokenizer.Decode(responses[b], skipSpecialTokens: true)], batchSize: 1)[0][1])];

        Row[] rows = [.. batch.Select((q, b) => MakeRow(q.TokenIds, responses[b], scores[b]))];
        double[] raw = [.. rows.SelectMany(r => r.Advantages)];
        double mean = raw.Average(), variance = raw.Sum(a => (a - mean) * (a - mean)) / (raw.Length - 1);
        foreach (var row in rows)
            row.Advantages = [.. row.Advantages.Select(a => (a - mean) / Math.Sqrt(variance + 1e-8))];

        List<(double Policy, double Value, double Entropy, double Norm)> losses = [];
        for (int epoch = 0; epoch < config.PpoEpochs; epoch++)
            foreach (var miniBatch in order.NextPermutation(rows.Length).Chunk(config.MiniBatchSize))
                losses.Add(Update([.. miniBatch.Select(b => rows[b])]));

        double kl = rows.Average(r => r.Logprobs.Zip(r.RefLogprobs, (p, q) => p - q).Sum()), coefficient = klCoef;
        klCoef *= 1 + Math.Clamp(kl / config.Target - 1, -0.2, 0.2) * config.BatchSize / config.Horizon;
        return new PlainStep(responses, scores, kl, coefficient, rows.Average(r => -r.Logprobs.Sum()), losses.Average(l => l.Policy),
            losses.Average(l => l.Value), losses.Average(l => l.Entropy), losses.Average(l => l.Norm));
    }

    public void Dispose()
    {
        adam.Dispose();
        reference.Dispose();
    }

    private int[] Sample(int[] query, int count, RandomStream random)
    {
        using var noGrad = no_grad();
        List<int> text = [.. query];
        for (int i = 0; i < count; i++)
        {
            using var scope = NewDisposeScope();
            var last = Logits(policy.PretrainedModel, Hidden(policy.PretrainedModel, [.. text]))[-1].data<float>().ToArray();
            text.Add(new Categorical(last, new double[Categorical.BlockCount(last.Length)]).Draw(random.NextDouble()));
        }
        return [.. text.Skip(query.Length)];
    }

    /// <summary>Logprobs, values, per-token rewards and advantages of one row, as the policy is before the step.</summary>
    private Row MakeRow(int[] query, int[] response, float score)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var (logprobs, values, _) = Evaluate(query, response);
        var refLogprobs = Logprobs(reference, Hidden(reference, [.. query, .. response]), query, response).Picked;
        var row = new Row(query, response, Doubles(logprobs), Doubles(refLogprobs), Doubles(values));
        var rewards = row.Logprobs.Zip(row.RefLogprobs, (p, q) => -klCoef * (p - q)).ToArray();
        rewards[^1] += score;
        double advantage = 0, nextValue = 0;
        for (int t = response.Length - 1; t >= 0; t--)
        {
            advantage = rewards[t] + config.Gamma * nextValue - row.Values[t] + config.Gamma * config.Lam * advantage;
            nextValue = row.Values[t];
            row.Advantages[t] = advantage;
            row.Returns[t] = advantage + row.Values[t];
        }
        return row;
    }

    private (double Policy, double Value, double Entropy, double Norm) Update(Row[] rows)
    {
        using var scope = NewDisposeScope();
        adam.zero_grad();
        var evaluated = rows.Select(r => Evaluate(r.Query, r.Response)).ToArray();
        Tensor logprobs = cat([.. evaluated.Select(e => e.Logprobs)]), values = cat([.. evaluated.Select(e => e.Values)]);
        Tensor old = Flat(r => r.Logprobs), advantages = Flat(r => r.Advantages), oldValues = Flat(r => r.Values),
            returns = Flat(r => r.Returns);

        var ratio = exp(logprobs - old);
        var policyLoss = maximum(-advantages * ratio, -advantages * clamp(ratio, 1 - config.ClipRange, 1 + config.ClipRange)).mean();
        var clipped = clamp(values, oldValues - config.ClipRangeValue, oldValues + config.ClipRangeValue);
        var valueLoss = 0.5 * maximum((values - returns).square(), (clipped - returns).square()).mean();
        (policyLoss + config.VfCoef * valueLoss).backward();
        double norm = nn.utils.clip_grad_norm_(parameters, config.MaxGradNorm ?? double.MaxValue);
        adam.step();
        return (policyLoss.ToDouble(), valueLoss.ToDouble(), cat([.. evaluated.Select(e => e.Entropy)]).mean().ToDouble(), norm);

        Tensor Flat(Func<Row, double[]> values) => tensor(rows.SelectMany(values).Select(v => (float)v).ToArray());
    }

    /// <summary>Of each response token [r]: its logprob, the value of the state before it, and the entropy of its distribution.</summary>
    private (Tensor Logprobs, Tensor Values, Tensor Entropy) Evaluate(int[] query, int[] response)
    {
        var hidden = Hidden(policy.PretrainedModel, [.. query, .. response]);
        var (picked, entropy) = Logprobs(policy.PretrainedModel, hidden, query, response);
        return (picked, policy.Values(hidden).narrow(0, query.Length - 1, response.Length), entropy);
    }

    private static (Tensor Picked, Tensor Entropy) Logprobs(CausalLM model, Tensor hidden, int[] query, int[] response)
    {
        var all = nn.functional.log_softmax(Logits(model, hidden), 1);
        var next = tensor(query.Concat(response).Skip(1).Select(id => (long)id).ToArray()).unsqueeze(1);
        var picked = all.narrow(0, 0, next.shape[0]).gather(1, next).squeeze(1).narrow(0, query.Length - 1, response.Length);
        return (picked, -(all.exp() * all).sum(1).narrow(0, query.Length - 1, response.Length));
    }

    /// <summary>[T, D] of one row.</summary>
    private static Tensor Hidden(CausalLM model, int[] ids)
    {
        using var row = PackedBatch.FromRows([ids]);
        return model.Forward(row);
    }

    /// <summary>Logits [T, V] of all positions.</summary>
    private static Tensor Logits(CausalLM model, Tensor hidden) => hidden.matmul(model.Head.Layer.Weight.t());

    private static double[] Doubles(Tensor values) => [.. values.data<float>().Select(v => (double)v)];

    private sealed record Row(int[] Query, int[] Response, double[] Logprobs, double[] RefLogprobs, double[] Values)
    {
        public double[] Advantages { get; set; } = new double[Response.Length];

        public double[] Returns { get; } = new double[Response.Length];
    }
}

/// <summary>What a step of <see cref="PlainPpo"/> gave; losses, entropy and norm are means over its minibatches.</summary>
internal sealed record PlainStep(int[][] Responses, float[] Scores, double Kl, double KlCoef, double ObjectiveEntropy,
    double PolicyLoss, double ValueLoss, double Entropy, double GradNorm);
