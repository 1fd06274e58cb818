using System.Net.Http.Json;
using System.Text.Json;
using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Studio.Playground;
using Rlhf.Tests;
using Rlhf.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Studio.Tests;

/// <summary>Adapters of one base in the studio: they answer as merged models do, and the base is in memory once.</summary>
public sealed class AdapterTests : IDisposable
{
    private static readonly string Base = Path.Combine(Fixtures.Repository(), "models", "imdb-gpt2-tiny");
    private readonly Fixtures.TemporaryFolder runs = new();

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Two_adapters_of_one_base_answer_while_the_base_is_loaded_once()
    {
        string[] ids = ["ups", "downs"];
        foreach (var (id, seed) in ids.Zip([1, 2]))
        {
            StudioServer.MakeRun(runs.Path, id);
            SaveAdapter(Path.Combine(runs.Path, id, "model"), seed);
        }
        await using var server = await StudioServer.StartAsync(new() { RunsFolder = runs.Path, ShippedModel = Base });
        using var client = server.Client();
        foreach (string id in ids)
        {
            using var answer = await client.PostAsJsonAsync("/v1/completions", new { model = id, prompt = "This movie was", max_tokens = 8, seed = 3 }, Stop);
            var body = await answer.Content.ReadFromJsonAsync<JsonElement>(Stop);
            Assert.True(answer.IsSuccessStatusCode, body.ToString());
        }
        var shelf = server.Service<ModelShelf>();
        Assert.Equal(1, shelf.WholeModels);

        // The same as the merged models, and each its own.
        using var turn = await shelf.TakeAsync(Stop);
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var logits = ids.Select(id => (Beside: Logits(shelf.Lend(Path.Combine(runs.Path, id, "model")).Model.Model), Merged: Merged(id))).ToArray();
        Assert.All(logits, l => Assert.InRange((l.Beside - l.Merged).abs().max().ToDouble(), 0, 1e-3));
        Assert.True((logits[0].Beside - logits[1].Beside).abs().max().ToDouble() > 0.01);
        Assert.Equal(1, shelf.WholeModels);
    }

    /// <summary>A run is a stranger's word: a base outside of the runs folder is not opened because the adapter names it.</summary>
    [Fact]
    public async Task An_adapter_does_not_lead_the_studio_to_other_folders()
    {
        StudioServer.MakeRun(runs.Path, "strange");
        SaveAdapter(Path.Combine(runs.Path, "strange", "model"), 1);
        await using var server = await StudioServer.StartAsync(new() { RunsFolder = runs.Path });
        using var client = server.Client();
        using var answer = await client.PostAsJsonAsync("/v1/completions", new { model = "strange", prompt = "This", max_tokens = 2 }, Stop);
        Assert.False(answer.IsSuccessStatusCode);
        Assert.Contains("rlhf studio --base-model", await answer.Content.ReadAsStringAsync(Stop));
    }

    public void Dispose() => runs.Dispose();

    private static void SaveAdapter(string folder, int seed)
    {
        using var model = AutoModelForCausalLM.FromPretrained(Base);
        using var adapter = LoraAdapter.Attach(model, new() { InitLoraWeights = LoraInit.Random, LoraAlpha = 2 }, seed, Base);
        adapter.Save(folder);
    }

    private Tensor Merged(string id)
    {
        using var model = AutoModelForCausalLM.FromPretrained(Path.Combine(runs.Path, id, "model"));
        return Logits(model);
    }

    private static Tensor Logits(CausalLM model)
    {
        using var batch = PackedBatch.FromRows([[5, 90, 300, 12]]);
        return model.Logits(model.Forward(batch));
    }
}
