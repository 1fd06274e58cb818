using Rlhf.Data;

namespace Rlhf.Tests.Data;

/// <summary>IMDB as the Hub stores it; the counts are those of the data set's card and of the lesson.</summary>
public class ImdbTests
{
    [Fact]
    public void TheTrainingSplitIsWholeAndTheLessonsFilterKeeps24895()
    {
        var folder = Fixtures.Shared("data", "imdb");
        var all = ReviewDataset.Load(folder, new ReviewReadOptions { Split = "train" });
        Assert.Equal(25_000, all.Count);
        Assert.Equal(12_500, all.Count(r => r.Label == 0));
        Assert.Equal(12_500, all.Count(r => r.Label == 1));
        Assert.Contains(all, r => r.Text.Contains("<br />"));
        Assert.Equal(24_895, all.Count(r => ReviewDataset.IsLongerThan(r.Text, 200)));
    }

    [Fact]
    public void UnsupervisedReviewsHaveNoLabel()
    {
        var file = Fixtures.Shared("data", "imdb", "plain_text", "unsupervised-00000-of-00001.parquet");
        Assert.All(ReviewDataset.Stream(file, new ReviewReadOptions { Limit = 1500 }), r => Assert.Null(r.Label));
    }

    [Fact]
    public void AShuffledLimitHasBothClasses()
    {
        var options = new ReviewReadOptions { Split = "test", Limit = 100, ShuffleSeed = 3, LineBreaks = HtmlLineBreaks.Space };
        var some = ReviewDataset.Load(Fixtures.Shared("data", "imdb"), options);
        Assert.Equal(100, some.Count);
        Assert.InRange(some.Count(r => r.Label == 1), 25, 75);
        Assert.DoesNotContain(some, r => r.Text.Contains("<br />"));
        Assert.Equal(some, ReviewDataset.Load(Fixtures.Shared("data", "imdb"), options));
    }
}
