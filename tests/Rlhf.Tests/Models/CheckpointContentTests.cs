using System.IO.Compression;
using System.Text;
using System.Text.Json.Nodes;
using Rlhf.Models;
using Rlhf.Models.Gpt2;
using Rlhf.Weights;
using static TorchSharp.torch;

namespace Rlhf.Tests.Models;

/// <summary>What a checkpoint may hold beside the parameters, or in other places, and what is said of it.</summary>
public sealed class CheckpointContentTests : IDisposable
{
    private static readonly Gpt2Config Small = new() { VocabSize = 7, NPositions = 8, NEmbd = 4, NLayer = 2, NHead = 2, EosTokenId = 6, BosTokenId = 6 };
    private const string Pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";

    private readonly Fixtures.TemporaryFolder folder = new();
    private readonly TorchSharp.DisposeScope scope = NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    [Theory]
    [InlineData(null)]
    [InlineData(true)]
    [InlineData(false)]
    public void AnOutputLayerOfItsOwnIsLoadedWhateverTheConfigurationSays(bool? ties)
    {
        var own = Write(ties, withHead: true);
        using var model = AutoModelForCausalLM.FromPretrained(folder.Path);
        Assert.False(model.IsTied);
        Assert.True(own.Equals(model.Head.Layer.Weight));
        Assert.False(own.Equals(model.Parameters["transformer.wte.weight"]));
        Assert.Equal(ties == false ? 0 : 1, model.LoadNotes.Count);

        using var batch = PackedBatch.FromRows([[1, 2, 3]]);
        using var noGrad = no_grad();
        var hidden = model.Forward(batch);
        Assert.True(hidden.mm(own.t()).allclose(model.Logits(hidden), 1e-5, 1e-5));

        // It is saved as such, copied and trained.
        using var saved = new Fixtures.TemporaryFolder();
        model.SavePretrained(saved.Path);
        Assert.False((bool)JsonNode.Parse(File.ReadAllText(Path.Combine(saved.Path, "config.json")))!["tie_word_embeddings"]!);
        using var again = AutoModelForCausalLM.FromPretrained(saved.Path);
        Assert.True(own.Equals(again.Head.Layer.Weight));
        Assert.Empty(again.LoadNotes);
        using var copy = model.CreateFrozenCopy(1);
        Assert.True(own.Equals(copy.Head.Layer.Weight));
        Assert.NotSame(model.Head.Layer.Weight, copy.Head.Layer.Weight);
        Assert.Same(model.Parameters["transformer.wte.weight"], copy.Parameters["transformer.wte.weight"]);
    }

    [Fact]
    public void AnOutputLayerThatEqualsTheEmbeddingStaysTied()
    {
        var model = Model();
        var wte = model.Parameters["transformer.wte.weight"];
        Save(model, true, [new("lm_head.weight", wte.detach().clone())]);
        using var loaded = AutoModelForCausalLM.FromPretrained(folder.Path);
        Assert.True(loaded.IsTied);
        Assert.Empty(loaded.LoadNotes);
    }

    [Fact]
    public void AnUntiedModelWithoutItsOutputLayerIsRefused()
    {
        Write(false, withHead: false);
        Assert.Contains("belong together", Assert.Throws<InvalidDataException>(() => AutoModelForCausalLM.FromPretrained(folder.Path)).Message);
    }

    [Fact]
    public void ABlockThatTheConfigurationDoesNotDescribeIsRefused()
    {
        Save(Model(), null, [new("transformer.h.2.ln_1.weight", ones(4))]);
        var error = Assert.Throws<InvalidDataException>(() => AutoModelForCausalLM.FromPretrained(folder.Path));
        Assert.Contains("transformer.h.2.ln_1.weight", error.Message);
        Assert.Contains("config.json", error.Message);
    }

    [Fact]
    public void WhatIsUnknownIsReportedAndWhatIsUsualIsNot()
    {
        Save(Model(), null, [new("transformer.h.0.attn.bias", ones(1, 1, 8, 8)), new("v_head.summary.bias", ones(1)), new("lora.alpha", ones(2))]);
        using var model = AutoModelForCausalLM.FromPretrained(folder.Path);
        Assert.Contains("lora.alpha", Assert.Single(model.LoadNotes));
        Assert.DoesNotContain("attn.bias", model.LoadNotes[0]);
    }

    [Theory]
    [InlineData("module.")]
    [InlineData("_orig_mod.")]
    [InlineData("module._orig_mod.")]
    public void PrefixesOfTrainingWrappersAreStripped(string prefix)
    {
        using var model = Model();
        Save(model, null, [], name => prefix + name);
        using var loaded = AutoModelForCausalLM.FromPretrained(folder.Path);
        Assert.All(model.Parameters, p => Assert.True(p.Value.Equals(loaded.Parameters[p.Key]), p.Key));
        Assert.Empty(loaded.LoadNotes);
    }

    [Fact]
    public void KeysThatTheFamilyDoesNotKnowSurviveSaving()
    {
        using var model = Model();
        Save(model, null, []);
        string file = Path.Combine(folder.Path, "config.json");
        var json = JsonNode.Parse(File.ReadAllText(file))!.AsObject();
        json["task_specific_params"] = new JsonObject { ["text-generation"] = new JsonObject { ["max_length"] = 50 } };
        json["torch_dtype"] = "float16";
        json["eos_token_id"] = new JsonArray(6, 5);
        File.WriteAllText(file, json.ToJsonString());
        File.WriteAllText(Path.Combine(folder.Path, "generation_config.json"), """{"eos_token_id": [5, 4], "temperature": 0.6}""");

        using var loaded = AutoModelForCausalLM.FromPretrained(folder.Path);
        Assert.Equal([5, 4], loaded.EosTokenIds);
        using var saved = new Fixtures.TemporaryFolder();
        loaded.SavePretrained(saved.Path);
        var after = JsonNode.Parse(File.ReadAllText(Path.Combine(saved.Path, "config.json")))!;
        Assert.Equal(50, (int)after["task_specific_params"]!["text-generation"]!["max_length"]!);
        Assert.Equal([6, 5], after["eos_token_id"]!.AsArray().Select(n => (int)n!));
        Assert.Null(after["torch_dtype"]);
        Assert.Equal("float32", (string?)after["dtype"]);
        Assert.Equal(0.6, (double)JsonNode.Parse(File.ReadAllText(Path.Combine(saved.Path, "generation_config.json")))!["temperature"]!);
    }

    [Theory]
    [InlineData("gemma3", "gemma3_text", "Gemma3ForCausalLM")]
    [InlineData("llava", "llama", "LlamaForCausalLM")]
    public void AModelOfTextsAndPicturesIsRefusedWithWhatToDo(string type, string text, string transformers)
    {
        Save(Model(), null, [], name => "language_model." + name);
        File.WriteAllText(Path.Combine(folder.Path, "config.json"), $$$"""
            {"architectures": ["{{{type}}}ForConditionalGeneration"], "model_type": "{{{type}}}", "vision_config": {"hidden_size": 8},
             "text_config": {"model_type": "{{{text}}}", "hidden_size": 4, "num_hidden_layers": 2, "rope_scaling": {"rope_type": "linear", "factor": 8.0} } }
            """);
        foreach (var read in (Action[])[() => AutoModelForCausalLM.FromPretrained(folder.Path), () => AutoModelForSequenceClassification.FromPretrained(folder.Path),
            () => ModelShape.Of(folder.Path)])
        {
            string message = Assert.Throws<InvalidDataException>(read).Message;
            Assert.Contains($"'{type}' is for texts and pictures; its text model '{text}' is read once transformers has saved it alone: ", message);
            Assert.Contains($"{transformers}.from_pretrained(FOLDER).save_pretrained(OTHER)", message);
            Assert.Contains("config.json", message);
            Assert.DoesNotContain('\n', message);
        }
    }

    [Fact]
    public void AnOutputLayerOfItsOwnInAFileOfPyTorchIsLoaded()
    {
        var own = Write(ties: null, withHead: true);
        (string Name, Tensor Value)[] weights = [.. Model().Parameters.Select(p => (p.Key, (Tensor)p.Value)), ("lm_head.weight", own)];
        File.Delete(Path.Combine(folder.Path, "model.safetensors"));
        WritePyTorch(Path.Combine(folder.Path, "pytorch_model.bin"), weights);
        using var model = AutoModelForCausalLM.FromPretrained(folder.Path);
        Assert.False(model.IsTied);
        Assert.True(own.Equals(model.Head.Layer.Weight));
        Assert.All(weights[..^1], p => Assert.True(p.Value.Equals(model.Parameters[p.Name]), p.Name));
        // Where it equals the embedding, as torch.save writes a tied model, it stays tied.
        var embedding = weights.Single(w => w.Name == "transformer.wte.weight").Value;
        WritePyTorch(Path.Combine(folder.Path, "pytorch_model.bin"), [.. weights[..^1], ("lm_head.weight", embedding)]);
        using var again = AutoModelForCausalLM.FromPretrained(folder.Path);
        Assert.True(again.IsTied);
    }

    [Theory]
    [InlineData("tokenizer.json")]
    [InlineData("tokenizer.model")]
    [InlineData("vocab.txt")]
    public void APointerOfGitLfsInPlaceOfATokenizerIsNamed(string file)
    {
        File.WriteAllText(Path.Combine(folder.Path, file), Pointer);
        var error = Assert.Throws<InvalidDataException>(() => Rlhf.Tokenizers.AutoTokenizer.FromPretrained(folder.Path));
        Assert.Contains(Path.Combine(folder.Path, file) + " is a Git LFS pointer", error.Message);
        Assert.Contains("git lfs pull", error.Message);
    }

    [Theory]
    [InlineData("model.safetensors")]
    [InlineData("pytorch_model.bin")]
    [InlineData("config.json")]
    public void APointerOfGitLfsIsNamed(string file)
    {
        Save(Model(), null, []);
        if (file == "pytorch_model.bin")
            File.Delete(Path.Combine(folder.Path, "model.safetensors"));
        File.WriteAllText(Path.Combine(folder.Path, file), Pointer);
        var error = Assert.Throws<InvalidDataException>(() => AutoModelForCausalLM.FromPretrained(folder.Path));
        Assert.Contains("Git LFS pointer", error.Message);
        Assert.Contains("git lfs pull", error.Message);
    }

    [Fact]
    public void AnAdapterAFileAndAnotherArchitectureSayWhatTheyAre()
    {
        File.WriteAllText(Path.Combine(folder.Path, "adapter_config.json"), """{"peft_type": "LORA", "base_model_name_or_path": "org/base"}""");
        Assert.Contains("holds an adapter", Message(folder.Path));
        Assert.Contains("org/base", Message(folder.Path));
        File.Delete(Path.Combine(folder.Path, "adapter_config.json"));

        Save(Model(), null, []);
        Assert.Contains("is a file", Message(Path.Combine(folder.Path, "model.safetensors")));

        File.WriteAllText(Path.Combine(folder.Path, "config.json"), """{"model_type": "mamba", "architectures": ["MambaForCausalLM"]}""");
        Assert.Contains("'mamba'", Message(folder.Path));
        Assert.Contains("gpt2", Message(folder.Path));
        Assert.DoesNotContain("classifier", Message(folder.Path));
        Assert.DoesNotContain("classifier", Assert.Throws<InvalidDataException>(() => ModelShape.Of(folder.Path)).Message);
        static string Message(string path) => Assert.Throws<InvalidDataException>(() => AutoModelForCausalLM.FromPretrained(path)).Message;
    }

    private static Gpt2LMHeadModel Model()
    {
        var model = new Gpt2LMHeadModel(Small);
        model.Initialize(1);
        return model;
    }

    /// <summary>A model folder, and the output layer that was written into it.</summary>
    private Tensor Write(bool? ties, bool withHead)
    {
        var head = randn(7, 4);
        Save(Model(), ties, withHead ? [new("lm_head.weight", head)] : []);
        return head;
    }

    private void Save(Gpt2LMHeadModel model, bool? ties, KeyValuePair<string, Tensor>[] further, Func<string, string>? rename = null)
    {
        var config = model.Configuration.Root.Json.DeepClone().AsObject();
        config.Remove("tie_word_embeddings");
        if (ties is { } value)
            config["tie_word_embeddings"] = value;
        File.WriteAllText(Path.Combine(folder.Path, "config.json"), config.ToJsonString());
        WeightFiles.Save(folder.Path,
            [.. model.Parameters.Select(p => new KeyValuePair<string, Tensor>((rename ?? (n => n))(p.Key), p.Value)), .. further]);
    }

    /// <summary>What torch.save writes: a zip file with a pickle (protocol 2) of rebuilt tensors, and the elements of each in a file of its own.</summary>
    private static void WritePyTorch(string file, (string Name, Tensor Value)[] weights)
    {
        using var pickle = new MemoryStream();
        using var zip = new ZipArchive(File.Create(file), ZipArchiveMode.Create);
        void Bytes(params byte[] bytes) => pickle.Write(bytes);
        void Text(string text)
        {
            byte[] utf8 = Encoding.UTF8.GetBytes(text);
            Bytes([(byte)'X', .. BitConverter.GetBytes(utf8.Length), .. utf8]);
        }
        void Global(string module, string name) => Bytes(Encoding.UTF8.GetBytes($"c{module}\n{name}\n"));
        void Number(long value) => Bytes([(byte)'J', .. BitConverter.GetBytes((int)value)]);
        void Numbers(IEnumerable<long> values)
        {
            Bytes((byte)'(');
            foreach (long value in values)
                Number(value);
            Bytes((byte)'t');
        }
        Bytes(0x80, 2, (byte)'}', (byte)'(');
        foreach (var (key, (name, value)) in weights.Index())
        {
            float[] elements = value.detach().contiguous().reshape(-1).data<float>().ToArray();
            Text(name);
            Global("torch._utils", "_rebuild_tensor_v2");
            Bytes((byte)'(', (byte)'(');
            Text("storage");
            Global("torch", "FloatStorage");
            Text($"{key}");
            Text("cpu");
            Number(elements.Length);
            Bytes((byte)'t', (byte)'Q'); // the storage, by its description
            Number(0);
            Numbers(value.shape);
            Numbers(value.contiguous().stride());
            Bytes(0x89); // requires no gradient
            Global("collections", "OrderedDict");
            Bytes((byte)')', (byte)'R', (byte)'t', (byte)'R');
            using var data = zip.CreateEntry($"archive/data/{key}", CompressionLevel.NoCompression).Open();
            data.Write(System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(elements));
        }
        Bytes((byte)'u', (byte)'.');
        using var entry = zip.CreateEntry("archive/data.pkl", CompressionLevel.NoCompression).Open();
        entry.Write(pickle.ToArray());
    }
}
