using BenchmarkDotNet.Attributes;
using Rlhf.Generation;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Tokenizers;
using Rlhf.Weights;

namespace Rlhf.Benchmarks;

/// <summary>The draw of one token from a row of logits.</summary>
[MemoryDiagnoser]
public class Sampler
{
    private readonly RandomStream random = new(0, "benchmark");
    private float[] logits = [];
    private double[] blockSums = [];

    [Params(8000, 50257)]
    public int Vocabulary { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        logits = [.. Enumerable.Range(0, Vocabulary).Select(_ => (float)(3 * random.NextGaussian()))];
        blockSums = new double[Categorical.BlockCount(Vocabulary)];
    }

    [Benchmark]
    public int Draw() => new Categorical(logits, blockSums).Draw(random.NextDouble());
}

/// <summary>The tokenizers of the models that ship, on a review of 100 sentences.</summary>
[MemoryDiagnoser]
public class Tokenizers
{
    private readonly string review = string.Concat(Enumerable.Range(0, 100).Select(i =>
        $"The {i}th scene isn't half as good as the film's beginning, but Åsa Öberg's acting (9/10!) saves it. "));

    private ITokenizer bpe = null!, wordPiece = null!;

    [GlobalSetup]
    public void Setup()
    {
        bpe = AutoTokenizer.FromPretrained(Models.Folder("imdb-gpt2-tiny"));
        wordPiece = AutoTokenizer.FromPretrained(Models.Folder("imdb-distilbert-tiny"));
    }

    [Benchmark]
    public int[] ByteLevelBpe() => bpe.Encode(review);

    [Benchmark]
    public int[] WordPiece() => wordPiece.Encode(review);
}

/// <summary>The weights of the policy that ships, from disk cache to tensors.</summary>
[MemoryDiagnoser]
public class SafeTensorsLoad
{
    private readonly string file = Path.Combine(Models.Folder("imdb-gpt2-tiny"), "model.safetensors");

    [GlobalSetup]
    public void Setup() => LibTorch.Initialize();

    [Benchmark]
    public void Load()
    {
        foreach (var tensor in SafeTensors.Load(file).Values)
            tensor.Dispose();
    }
}

/// <summary>The models of this repository.</summary>
internal static class Models
{
    public static string Folder(string name)
    {
        for (var at = new DirectoryInfo(AppContext.BaseDirectory); at is not null; at = at.Parent)
            if (Directory.Exists(Path.Combine(at.FullName, "models", name)))
                return Path.Combine(at.FullName, "models", name);
        throw new DirectoryNotFoundException($"There is no models/{name} above {AppContext.BaseDirectory}; run from a clone of the repository.");
    }
}
